"""Chat completions with the openai package: a stream, a tool, and an object. Knows ``client`` and ``model``."""
# ruff: noqa: F821 - the lines of the page, put above this program, define them

import json

from pydantic import BaseModel

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
tools = [{"type": "function", "function": {"name": "get_weather", "description": "A tool.", "parameters": CITY}}]


class Place(BaseModel):
    """The place."""

    city: str


def ask(messages):
    """The streamed answer, whole."""
    usage = {"include_usage": True}
    with client.chat.completions.stream(model=model, messages=messages, tools=tools, stream_options=usage) as stream:
        return stream.get_final_completion()


spoken = ask([{"role": "user", "content": "Hello"}])
history = [{"role": "user", "content": "Use get_weather with city=Paris"}]
asked = ask(history).choices[0].message
results = [{"role": "tool", "tool_call_id": call.id, "content": "Sunny"} for call in asked.tool_calls]
answered = ask([*history, asked, *results])
shaped = client.chat.completions.parse(
    model=model, messages=[{"role": "user", "content": "Tell me of city=Paris"}], response_format=Place
)

print(
    json.dumps(
        {
            "text": spoken.choices[0].message.content,
            "finish": spoken.choices[0].finish_reason,
            "input": spoken.usage.prompt_tokens,
            "output": spoken.usage.completion_tokens,
            "calls": [[call.function.name, json.loads(call.function.arguments)] for call in asked.tool_calls],
            "answer": answered.choices[0].message.content,
            "object": shaped.choices[0].message.parsed.model_dump(),
        }
    )
)
