"""What ``/responses`` refuses, and what it wants back (checklist lines 38 to 40)."""

import pytest
from simulator_client import function_tool, rules

from copilot_asgi.simulator import ItemPairing, Quirk, Reply

pytestmark = pytest.mark.anyio
READ = function_tool("read_file", path={"type": "string"})
THINK = {"effort": "low", "summary": "auto"}


async def reasoned(client):
    """The output of an answer that thought and called."""
    answer = await client.responses("read_file path=a", tools=[READ], reasoning=THINK, stream=True)
    items = [event["item"] for event in answer.events if event["type"] == "response.output_item.done"]
    opened = [event["item"] for event in answer.events if event["type"] == "response.output_item.added"]
    return items, opened


async def replay(client, items, token=None):
    call = next(item for item in items if item["type"] == "function_call")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "data"}
    history = [{"role": "user", "content": "x"}, *items, result]
    return await client.call(
        "/responses", {"model": "gpt-5.4", "input": history, "tools": [READ]}, token=token, x_initiator="agent"
    )


async def test_38_encrypted_content_comes_when_an_item_is_done(client):
    """Not when it begins, unless a quirk says so."""
    items, opened = await reasoned(client)
    assert "encrypted_content" not in opened[0]
    assert items[0]["encrypted_content"].startswith("gAAAAA")
    client.simulator.enqueue(Reply(reasoning="x", quirks=frozenset({Quirk.BLOB_AT_START})))
    early = (await client.responses(stream=True)).events[2]["item"]
    assert early["encrypted_content"]


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        (lambda item, other: item, 200, ""),
        (lambda item, other: {k: v for k, v in item.items() if k != "id"}, 200, ""),
        (lambda item, other: item | {"id": other["id"]}, 400, "item_id did not match the target item id"),
        (lambda item, other: item | {"encrypted_content": item["id"]}, 400, "could not be decrypted"),
        (lambda item, other: item | {"encrypted_content": ""}, 400, "Encrypted content is missing"),
        (lambda item, other: item | {"id": "rs_short"}, 400, "did not match"),
    ],
)
async def test_38_id_and_blob_go_back_together(client, change, status, told):
    """As they came or without id; mixed or made up they are refused."""
    items, _ = await reasoned(client)
    items[0] = change(items[0], items[1])
    answer = await replay(client, items)
    assert answer.status == status
    assert told in answer.text


@pytest.mark.parametrize(("pairing", "status"), [(ItemPairing.ITEM, 200), (ItemPairing.EVENT, 400)])
async def test_38_an_id_from_another_event_of_the_item(make, pairing, status):
    """Whether it may go back with the blob is a setting, since nobody knows."""
    client = make(item_pairing=pairing)
    items, opened = await reasoned(client)
    items[0]["id"] = opened[0]["id"]
    assert (await replay(client, items)).status == status


async def test_38_several_thoughts_go_back(client):
    """Each is judged by itself."""
    first, _ = await reasoned(client)
    second, _ = await reasoned(client)
    assert (await replay(client, [first[0], second[0], *first[1:]])).status == 200
    first[0]["id"], second[0]["id"] = second[0]["id"], first[0]["id"]
    assert "did not match" in (await replay(client, [first[0], second[0], *first[1:]])).text


async def test_39_foreign_item_ids_are_refused_with_401(client):
    """An id of another account does not belong here, though its token is good."""
    items, _ = await reasoned(client)
    hubot = await client.exchange(client.simulator.sign_in("hubot"))
    answer = await replay(client, [item for item in items if item["type"] != "reasoning"], token=hubot)
    expected = {"code": "", "message": "input item ID does not belong to this connection"}
    assert (answer.status, answer.json["error"]) == (401, expected)
    blobs = [item for item in items if item["type"] != "message"]
    del blobs[-1]["id"]
    assert "could not be decrypted" in (await replay(client, blobs, token=hubot)).text


async def test_39_short_ids_need_their_prefix(client):
    """``fc_`` for calls; another prefix is refused, none is fine."""
    call = {"type": "function_call", "call_id": "c1", "name": "read_file", "arguments": "{}"}
    assert (await replay(client, [call])).status == 200
    assert (await replay(client, [{**call, "id": "fc_1"}])).status == 200
    assert (await replay(client, [{**call, "id": "call_1"}])).code == "invalid_value"


async def test_39_item_references_are_not_found(client):
    """404 with an empty message."""
    answer = await client.responses([{"type": "item_reference", "id": "msg_1"}])
    assert (answer.status, answer.json) == (404, {"error": {"message": "", "code": "not_found"}})


@pytest.mark.parametrize(
    ("body", "rule", "code"),
    [
        ({"store": True}, "store", "unsupported_value"),
        ({"background": True}, "background", "unsupported_value"),
        ({"previous_response_id": "resp_1"}, "previous-response", "previous_response_not_found"),
        ({"conversation": "c"}, "conversation", "unsupported_parameter"),
        ({"service_tier": "auto"}, "service-tier", "unsupported_value"),
        ({"reasoning": {"effort": "minimal"}}, "reasoning-effort", "unsupported_value"),
        ({"reasoning": {"effort": "xhigh"}}, "reasoning-effort", "unsupported_value"),
        ({"temperature": 0.2}, "sampling-reasoning", "unsupported_parameter"),
        ({"max_output_tokens": 1}, "output-tokens", "integer_below_min_value"),
        ({"tools": [{"type": "code_interpreter"}]}, "tool-type", "unsupported_value"),
        ({"tools": [{"type": "image_generation"}]}, "tool-type", "unsupported_value"),
        ({"tools": [{"type": "function"}]}, "tool-type", "unsupported_value"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": []}]}, "tool-type", "unsupported_value"),
        ({"messages": []}, "misplaced-field", "unsupported_parameter"),
        ({"max_tokens": 5}, "misplaced-field", "unsupported_parameter"),
        ({"input": 3}, "input", "invalid_request_body"),
        (
            {"input": [{"type": "function_call_output", "call_id": "x", "output": ""}]},
            "tool-pairs",
            "invalid_request_body",
        ),
        (
            {"input": [{"type": "function_call", "call_id": "x", "name": "a", "arguments": ""}]},
            "tool-pairs",
            "invalid_request_body",
        ),
    ],
)
async def test_40_what_is_refused(client, body, rule, code):
    """State, tiers, efforts and fields of other dialects, each with its code and its rule."""
    answer = await client.call("/responses", {"model": "gpt-5.4", "input": "x", **body}, x_initiator="agent")
    assert (answer.status, answer.code) == (400, code)
    assert rules(client.simulator) == [rule]


@pytest.mark.parametrize(
    "body",
    [
        {"store": False, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k"},
        {"prompt_cache_retention": "24h", "safety_identifier": "s", "user": "u", "metadata": {}},
        {"text": {"verbosity": "low"}, "truncation": "auto", "parallel_tool_calls": True, "max_tool_calls": 3},
        {"tools": [{"type": "web_search"}, {"type": "tool_search"}, {"type": "custom", "name": "apply_patch"}]},
        {"tools": [{"type": "namespace", "name": "n", "description": "d", "tools": [READ]}]},
        {"temperature": 1, "previous_response_id": None, "client_metadata": {"a": "b"}},
    ],
)
async def test_40_what_is_accepted(client, body):
    """What official clients send passes without a violation."""
    assert (await client.responses(**body)).status == 200
    assert client.simulator.violations == []
