"""Responses with the openai package: a stream, a tool, and an object. Knows ``client`` and ``model``."""
# ruff: noqa: F821 - the lines of the page, put above this program, define them

import json

from pydantic import BaseModel

CITY = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
tools = [{"type": "function", "name": "get_weather", "strict": True, "parameters": CITY}]


class Place(BaseModel):
    """The place."""

    city: str


def ask(given):
    """The streamed answer, whole."""
    with client.responses.stream(model=model, input=given, tools=tools, store=False) as stream:
        return stream.get_final_response()


spoken = ask("Hello")
history = [{"role": "user", "content": "Use get_weather with city=Paris"}]
asked = ask(history)
called = [item for item in asked.output if item.type == "function_call"]
results = [{"type": "function_call_output", "call_id": item.call_id, "output": "Sunny"} for item in called]
answered = ask([*history, *(item.to_dict() for item in asked.output), *results])
shaped = client.responses.parse(model=model, input="Tell me of city=Paris", text_format=Place)

print(
    json.dumps(
        {
            "text": spoken.output_text,
            "finish": spoken.status,
            "input": spoken.usage.input_tokens,
            "output": spoken.usage.output_tokens,
            "calls": [[item.name, json.loads(item.arguments)] for item in called],
            "answer": answered.output_text,
            "object": shaped.output_parsed.model_dump(),
        }
    )
)
