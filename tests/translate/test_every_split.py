"""A decoder gives the same events however the network cuts the stream: whole, byte by byte, and at every place."""

import pytest
from dialects import NAMES, decoder

from copilot_asgi.translate.events import Event, check

PARTS = {
    "chat": [
        '{"choices":[],"id":"","object":"","created":0,"model":"","prompt_filter_results":[]}',
        '{"choices":[{"index":0,"delta":{"role":"assistant","content":"Grüße 👋"}}],"id":"1","model":"m","created":1}',
        '{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f",'
        '"arguments":"{\\"x\\":"}}]}}],"id":"1","model":"m","created":1}',
        '{"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\\"é\\"}"}}]}}],"id":"1"}',
        '{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"id":"1","usage":{"prompt_tokens":3,'
        '"completion_tokens":4,"total_tokens":7}}',
        "[DONE]",
    ],
    "messages": [
        '{"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":3,"output_tokens":1}}}',
        '{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm…"}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}',
        '{"type":"content_block_stop","index":0}',
        '{"type":"ping"}',
        '{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}',
        '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"x\\":\\"é\\"}"}}',
        '{"type":"content_block_stop","index":1}',
        '{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":4}}',
        '{"type":"message_stop"}',
    ],
    "responses": [
        '{"type":"response.created","response":{"id":"R1","model":"m"}}',
        '{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"A1"}}',
        '{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Grüße 👋"}',
        '{"type":"response.output_item.done","output_index":0,"item":{"type":"message","id":"A2"}}',
        '{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f",'
        '"arguments":""}}',
        '{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\\"x\\":\\"é\\"}"}',
        '{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f",'
        '"arguments":"{\\"x\\":\\"é\\"}"}}',
        '{"type":"response.completed","response":{"id":"R2","status":"completed","output":[],"usage":{'
        '"input_tokens":3,"output_tokens":4,"total_tokens":7}}}',
    ],
}


def wire(name: str, line_end: str) -> bytes:
    return "".join(f"data: {part}{line_end}{line_end}" for part in PARTS[name]).encode()


def events(name: str, chunks: list[bytes]) -> list[Event]:
    """What a new decoder makes of the chunks, its order checked; consecutive deltas stay as they came."""
    each = decoder(name)
    found = [event for chunk in chunks for event in each.feed(chunk)]
    return list(check([*found, *each.finish()]))


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("name", NAMES)
def test_cuts_do_not_matter(name: str, line_end: str) -> None:
    """Whole, byte by byte, and in two at every place."""
    stream = wire(name, line_end)
    expected = events(name, [stream])
    assert len(expected) > 5
    assert events(name, [stream[at : at + 1] for at in range(len(stream))]) == expected
    for at in range(len(stream) + 1):
        assert events(name, [stream[:at], stream[at:]]) == expected, f"cut at byte {at}"
