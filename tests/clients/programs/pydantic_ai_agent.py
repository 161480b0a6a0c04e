"""pydantic-ai: a stream, an agent with a tool, and one with an object. Knows ``model``."""
# ruff: noqa: F821 - the lines of the page, put above this program, define them

import asyncio
import json

from pydantic import BaseModel
from pydantic_ai import Agent

calls = []


def get_weather(city: str) -> str:
    """A tool."""
    calls.append(["get_weather", {"city": city}])
    return "Sunny"


class Place(BaseModel):
    """The place."""

    city: str


async def drain(_, events) -> None:
    """Let the requests be streamed."""
    async for _ in events:
        pass


async def main() -> None:
    async with Agent(model).run_stream("Hello") as spoken:
        text = await spoken.get_output()
    # run_stream would take the text before the call for the answer.
    agent = Agent(model, tools=[get_weather])
    answer = (await agent.run("Use get_weather with city=Paris", event_stream_handler=drain)).output
    shaped = (await Agent(model, output_type=Place).run("Tell me of city=Paris")).output
    usage = spoken.usage() if callable(spoken.usage) else spoken.usage
    finish = spoken.response.finish_reason
    told = {"text": text, "finish": finish, "input": usage.input_tokens, "output": usage.output_tokens}
    print(json.dumps({**told, "calls": calls, "answer": answer, "object": shaped.model_dump()}))


asyncio.run(main())
