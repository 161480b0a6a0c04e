"""What every client's stream must keep to, dialect by dialect; a checker each, for whole and for failed streams."""

from collections import Counter
from itertools import pairwise

BLOCK_OF_DELTA = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}
ENDS = {"response.completed", "response.incomplete", "response.failed"}


def check_messages(events: list[dict], *, complete: bool) -> None:
    """One message; blocks 0, 1, 2, one open at a time, deltas that fit; one end, or an error instead."""
    kinds = [event["data"]["type"] for event in events if event["data"]["type"] != "ping"]
    counted = Counter(kinds)
    assert [event["event"] for event in events] == [event["data"]["type"] for event in events]
    assert counted["message_start"] <= 1
    assert kinds[:1] in (["message_start"], ["error"])
    if complete:
        assert kinds[-2:] == ["message_delta", "message_stop"]
    else:
        assert kinds[-1] == "error"
    assert (counted["message_delta"], counted["message_stop"]) == ((1, 1) if complete else (0, 0))
    assert counted["error"] == (0 if complete else 1)
    opened, count = None, 0
    for data in (event["data"] for event in events):
        match data["type"]:
            case "content_block_start":
                assert opened is None
                assert data["index"] == count
                opened, count = data["content_block"]["type"], count + 1
            case "content_block_delta":
                assert data["index"] == count - 1
                assert BLOCK_OF_DELTA[data["delta"]["type"]] == opened
            case "content_block_stop":
                assert data["index"] == count - 1
                assert opened is not None
                opened = None
            case "message_delta":
                assert opened is None


def check_chat(events: list[dict], *, complete: bool) -> None:
    """One finish reason and ``[DONE]``, or an error instead; calls dense and named once; one id for all chunks."""
    assert all("event" not in event for event in events)
    texts = [event["data"] for event in events]
    assert texts.count("[DONE]") == (1 if complete else 0)
    assert (texts[-1] == "[DONE]") is complete
    chunks = [data for data in texts if data != "[DONE]"]
    errors = [data for data in chunks if "error" in data]
    assert errors == ([] if complete else chunks[-1:])
    told = [data for data in chunks if "error" not in data]
    assert len({(data["id"], data["created"], data["model"], data["object"]) for data in told}) <= 1
    choices = [choice for data in told for choice in data["choices"]]
    finishes = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    assert len(finishes) == (1 if complete else 0)
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or []]
    heads = [call for call in calls if call.get("id")]
    assert [call["index"] for call in heads] == list(range(len(heads)))
    assert all(call["function"].get("name") for call in heads)
    assert all("name" not in call["function"] for call in calls if not call.get("id"))
    assert sum("role" in choice["delta"] for choice in choices) <= 1


def check_responses(events: list[dict], *, complete: bool) -> None:
    """Numbered without gaps, created first, one end; every item added and done once under one id and with one text."""
    datas = [event["data"] for event in events]
    kinds = [data["type"] for data in datas]
    assert [event["event"] for event in events] == kinds
    if len(events) > 1 or complete:
        assert kinds[0] == "response.created"
    assert all(right["sequence_number"] == left["sequence_number"] + 1 for left, right in pairwise(datas))
    assert datas[0]["sequence_number"] == 0
    assert [kind in ENDS for kind in kinds] == [False] * (len(kinds) - 1) + [True]
    assert (kinds[-1] != "response.failed") is complete
    assert len({data["response"]["id"] for data in datas if "response" in data}) == 1
    added = {data["output_index"]: data["item"] for data in datas if data["type"] == "response.output_item.added"}
    done = {data["output_index"]: data["item"] for data in datas if data["type"] == "response.output_item.done"}
    assert kinds.count("response.output_item.added") == len(added)
    assert kinds.count("response.output_item.done") == len(done)
    assert sorted(added) == list(range(len(added)))
    for data in datas:
        if "item_id" in data:
            assert data["item_id"] == added[data["output_index"]]["id"]
    if complete:
        final = datas[-1]["response"]["output"]
        assert [done[index] for index in sorted(done)] == final
        assert [added[index]["id"] for index in sorted(added)] == [item["id"] for item in final]
        assert len({item["id"] for item in final}) == len(final)
        check_texts(datas)


def check_texts(datas: list[dict]) -> None:
    """What the deltas of a piece say is what its ``done`` event says."""
    said: dict[tuple[object, ...], str] = {}
    for data in datas:
        stem, _, last = data["type"].rpartition(".")
        place = (stem, data.get("output_index"), data.get("content_index"), data.get("summary_index"))
        if last == "delta":
            said[place] = said.get(place, "") + data["delta"]
        elif last == "done" and (key := {"text", "arguments", "input", "refusal"} & data.keys()):
            assert said.get(place, "") == data[key.pop()]


CHECKS = {"chat": check_chat, "messages": check_messages, "responses": check_responses}
