"""What programs do with chat completions, each check for one model.

Rule: a check raises when the SDK's user would not get what the SDK promises.
"""

import json

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from sdk.bench import Bench, adds_up, function, raw_lines, said, streamed, strict, user, valid

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class City(BaseModel):
    """What a structured answer is parsed into."""

    name: str
    population: int


def chat(bench: Bench, model: str) -> None:
    raw = bench.client.chat.completions.with_raw_response.create(model=model, messages=user("Hello"))
    answer = raw.parse()
    strict(ChatCompletion, raw.content)
    assert raw.headers["x-request-id"]
    assert len(answer.choices) == 1
    assert answer.choices[0].message.content == "You said: Hello"
    assert answer.choices[0].finish_reason == "stop"
    adds_up(answer.usage)


def stream(bench: Bench, model: str) -> None:
    chunks = streamed(bench, model=model, messages=user("Hello"))
    assert said(chunks) == "You said: Hello"
    assert all(chunk.choices for chunk in chunks), "a chunk of usage that nobody asked for"


def stream_on_the_wire(bench: Bench, model: str) -> None:
    body = {"model": model, "messages": user("Hello"), "stream": True, "stream_options": {"include_usage": True}}
    *chunks, done = raw_lines(f"{bench.url}/v1/chat/completions", body)
    assert done == b"[DONE]"
    for chunk in chunks:
        strict(ChatCompletionChunk, chunk)


def stream_usage(bench: Bench, model: str) -> None:
    options = {"include_usage": True}
    chunks = streamed(bench, model=model, messages=user("Hello"), stream_options=options)
    assert said(chunks) == "You said: Hello"
    adds_up(chunks[-1].usage)


def stream_helper(bench: Bench, model: str) -> None:
    with bench.client.chat.completions.stream(model=model, messages=user("Hello")) as events:
        kinds = [event.type for event in events]
        final = events.get_final_completion()
    assert "content.done" in kinds
    assert final.choices[0].message.content == "You said: Hello"


def tools(bench: Bench, model: str) -> None:
    messages = user("Use get_weather with city=Paris")
    asked = bench.client.chat.completions.with_raw_response.create(
        model=model, messages=messages, tools=[function("get_weather")]
    )
    strict(ChatCompletion, asked.content)
    [choice] = asked.parse().choices
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    history = [*messages, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny"}]
    answer = bench.client.chat.completions.create(model=model, messages=history, tools=[function("get_weather")])
    valid(answer)
    assert answer.choices[0].message.content == "The tool says: Sunny"


def tools_streamed(bench: Bench, model: str) -> None:
    both = [function("get_weather"), function("get_time")]
    chunks = streamed(bench, model=model, messages=user("Use get_weather and get_time with city=Paris"), tools=both)
    calls: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += part.id or ""
                call["name"] += (part.function and part.function.name) or ""
                call["arguments"] += (part.function and part.function.arguments) or ""
    assert [call["name"] for _, call in sorted(calls.items())] == ["get_weather", "get_time"], calls
    assert list(calls) == [0, 1]
    assert len({call["id"] for call in calls.values()}) == 2
    assert {call["arguments"] for call in calls.values()} == {'{"city":"Paris"}'}


def parallel_tools(bench: Bench, model: str) -> None:
    both = [function("get_weather"), function("get_time")]
    messages = user("Use get_weather and get_time with city=Paris")
    asked = bench.client.chat.completions.create(model=model, messages=messages, tools=both)
    valid(asked)
    [choice] = asked.choices
    calls = choice.message.tool_calls or []
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": text}
        for call, text in zip(calls, ("Sunny", "Noon"), strict=True)
    ]
    answer = bench.client.chat.completions.create(
        model=model, messages=[*messages, choice.message, *results], tools=both
    )
    assert answer.choices[0].message.content == "The tool says: Sunny; Noon"


def vision(bench: Bench, model: str) -> None:
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    answer = bench.client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    valid(answer)
    assert answer.choices[0].message.content == "I see 1 image: image/png. You said: What is it?"


def structured(bench: Bench, model: str) -> None:
    schema = {"name": "city", "strict": True, "schema": {**City.model_json_schema(), "additionalProperties": False}}
    answer = bench.client.chat.completions.create(
        model=model,
        messages=user("Tell me of name=Paris"),
        response_format={"type": "json_schema", "json_schema": schema},
    )
    valid(answer)
    assert City.model_validate_json(answer.choices[0].message.content or "").name == "Paris"


def parsed(bench: Bench, model: str) -> None:
    answer = bench.client.chat.completions.parse(
        model=model, messages=user("Tell me of name=Paris"), response_format=City
    )
    city = answer.choices[0].message.parsed
    assert city is not None
    assert city.name == "Paris"


EVERYWHERE = (
    chat, stream, stream_on_the_wire, stream_usage, stream_helper, tools, tools_streamed, parallel_tools, vision,
)  # fmt: skip
STRUCTURED = (structured, parsed)
