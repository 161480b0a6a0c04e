"""Messages with the anthropic package: a stream, a tool, and a forced tool. Knows ``client`` and ``model``."""
# ruff: noqa: F821 - the lines of the page, put above this program, define them

import json

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
tools = [{"name": "get_weather", "description": "A tool.", "input_schema": CITY}]


def ask(messages):
    """The streamed answer, whole."""
    with client.messages.stream(model=model, max_tokens=1000, messages=messages, tools=tools) as stream:
        return stream.get_final_message()


def text(message):
    """What the model said."""
    return "".join(block.text for block in message.content if block.type == "text")


spoken = ask([{"role": "user", "content": "Hello"}])
history = [{"role": "user", "content": "Use get_weather with city=Paris"}]
asked = ask(history)
called = [block for block in asked.content if block.type == "tool_use"]
results = [{"type": "tool_result", "tool_use_id": block.id, "content": "Sunny"} for block in called]
answered = ask([*history, {"role": "assistant", "content": asked.content}, {"role": "user", "content": results}])
shaped = client.messages.create(
    model=model,
    max_tokens=1000,
    messages=[{"role": "user", "content": "Tell me of city=Paris"}],
    tools=[{"name": "place", "description": "The place.", "input_schema": CITY}],
    tool_choice={"type": "tool", "name": "place"},
)

print(
    json.dumps(
        {
            "text": text(spoken),
            "finish": spoken.stop_reason,
            "input": spoken.usage.input_tokens,
            "output": spoken.usage.output_tokens,
            "calls": [[block.name, block.input] for block in called],
            "answer": text(answered),
            "object": next(block.input for block in shaped.content if block.type == "tool_use"),
        }
    )
)
