"""LangChain: a stream, a round trip with a tool, and an object. Knows ``model``."""
# ruff: noqa: F821 - the lines of the page, put above this program, define them

import json

from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel


@tool
def get_weather(city: str) -> str:
    """A tool."""
    return f"Sunny{city[:0]}"


def ask(runnable, messages) -> AIMessageChunk:
    """The streamed answer, whole."""
    chunks = iter(runnable.stream(messages))
    whole = next(chunks)
    for chunk in chunks:
        whole += chunk
    return whole


spoken = ask(model, "Hello")
armed = model.bind_tools([get_weather])
history = [HumanMessage("Use get_weather with city=Paris")]
asked = ask(armed, history)
results = [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in asked.tool_calls]
answered = ask(armed, [*history, asked, *results])


class Place(BaseModel):
    """The place."""

    city: str


shaped = model.with_structured_output(Place).invoke("Tell me of city=Paris")

print(
    json.dumps(
        {
            "text": str(spoken.text),
            "finish": spoken.response_metadata.get("finish_reason")
            or spoken.response_metadata.get("stop_reason")
            or spoken.response_metadata.get("status"),
            "input": spoken.usage_metadata["input_tokens"],
            "output": spoken.usage_metadata["output_tokens"],
            "calls": [[call["name"], call["args"]] for call in asked.tool_calls],
            "answer": str(answered.text),
            "object": shaped.model_dump(),
        }
    )
)
