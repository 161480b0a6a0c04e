"""``/responses`` (checklist lines 37 to 44)."""

import anyio
import pytest
from simulator_client import PNG, function_tool, rules

from copilot_asgi.simulator import Fault, Finish, Quirk, Reply, Simulator

pytestmark = pytest.mark.anyio
PATH = {"type": "string"}
READ = function_tool("read_file", path=PATH)
THINK = {"effort": "low", "summary": "auto"}


def ids(value):
    """Every id of a response or an item in an event."""
    if isinstance(value, dict):
        own = [value[key] for key in ("id", "item_id") if len(str(value.get(key, ""))) > 100]
        return own + [found for inner in value.values() for found in ids(inner)]
    return [found for inner in value for found in ids(inner)] if isinstance(value, list) else []


async def test_a_whole_answer_has_the_real_keys(client):
    """What was asked is echoed, usage adds up."""
    answer = (await client.responses("hello", tools=[READ], max_output_tokens=100)).json
    assert {
        "created_at", "id", "incomplete_details", "instructions", "max_output_tokens", "model", "object", "output",
        "output_text", "parallel_tool_calls", "previous_response_id", "reasoning", "safety_identifier", "service_tier",
        "status", "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "usage",
    } <= answer.keys()  # fmt: skip
    assert (answer["object"], answer["status"], answer["max_output_tokens"]) == ("response", "completed", 100)
    assert answer["output_text"] is None
    assert answer["output"][-1]["content"][0]["text"] == "You said: hello"
    assert answer["tools"][0]["strict"] is True
    assert answer["tools"][0]["parameters"]["additionalProperties"] is False
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_a_stream_has_named_events_in_order(client):
    """Each event's name is its type, numbers count up, texts add up."""
    answer = await client.responses("say something long", reasoning=THINK, stream=True)
    assert answer.names == [event["type"] for event in answer.events]
    assert [event["sequence_number"] for event in answer.events] == list(range(len(answer.events)))
    assert answer.names[0] == "response.created"
    assert answer.names[-1] == "response.completed"
    said = "".join(event["delta"] for event in answer.events if event["type"] == "response.output_text.delta")
    thought = "".join(e["delta"] for e in answer.events if e["type"] == "response.reasoning_summary_text.delta")
    reasoning, message = answer.events[-1]["response"]["output"]
    assert message["content"][0]["text"] == said == "You said: say something long"
    assert reasoning["summary"][0]["text"] == thought


async def test_37_ids_change_on_every_event(client):
    """No id appears twice, each is 408 characters, and ``output_index`` stays."""
    answer = await client.responses("read_file path=a", tools=[READ], reasoning=THINK, stream=True)
    found = ids(answer.events)
    assert len(found) == len(set(found)) > 15
    assert {len(one) for one in found} == {408}
    kinds = {e["output_index"]: e["item"]["type"] for e in answer.events if e["type"] == "response.output_item.added"}
    done = {e["output_index"]: e["item"]["type"] for e in answer.events if e["type"] == "response.output_item.done"}
    assert kinds == done == {0: "reasoning", 1: "message", 2: "function_call"}
    call_ids = {e["item"]["call_id"] for e in answer.events if e.get("output_index") == 2 and "item" in e}
    assert len(call_ids) == 1


async def test_37_ids_can_be_told_to_be_stable(client):
    """For tests that need the vendor's own form."""
    client.simulator.enqueue(Reply(text="hi", quirks=frozenset({Quirk.STABLE_IDS})))
    assert len(set(ids((await client.responses(stream=True)).events))) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/responses/resp_1"),
        ("DELETE", "/responses/resp_1"),
        ("POST", "/responses/resp_1/cancel"),
        ("GET", "/responses/resp_1/input_items"),
        ("POST", "/responses/input_tokens"),
        ("POST", "/responses/compact"),
        ("GET", "/responses"),
    ],
)
async def test_41_sub_resources_do_not_exist(client, method, path):
    """404 everywhere."""
    answer = await client.request(method, path, headers={"authorization": f"Bearer {client.simulator.sign_in()}"})
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("reply", "name", "status", "reason"),
    [
        (Reply(text="a", finish=Finish.LENGTH), "response.incomplete", "incomplete", "max_output_tokens"),
        (Reply(text="a", finish=Finish.CONTENT_FILTER), "response.incomplete", "incomplete", "content_filter"),
        (Reply(text="a", quirks=frozenset({Quirk.FAILED})), "response.failed", "failed", None),
        (Reply(text="a", finish=Finish.ERROR), "response.failed", "failed", None),
        (
            Reply(text="a", finish=Finish.LENGTH, quirks=frozenset({Quirk.INNER_STATUS})),
            "response.completed",
            "incomplete",
            "max_output_tokens",
        ),
    ],
)
async def test_42_a_stream_may_end_badly(client, reply, name, status, reason):
    """Incomplete, failed, or completed outside and incomplete inside."""
    client.simulator.enqueue(reply)
    last = (await client.responses(stream=True)).events[-1]
    assert (last["type"], last["response"]["status"]) == (name, status)
    assert (last["response"]["incomplete_details"] or {}).get("reason") == reason
    assert (last["response"]["error"] is not None) is (status == "failed")


async def test_42_error_events_are_flat_or_nested(client):
    """Both forms; and a stream without any terminal event."""
    nested = {"error": {"code": "rate_limited", "message": "slow"}}
    client.simulator.enqueue(Fault(error_after=4), Fault(error_after=4, error=nested), Fault(cut_after=-1))
    flat = (await client.responses(stream=True)).events[-1]
    assert (flat["type"], flat["code"]) == ("error", "server_error")
    assert (await client.responses(stream=True)).events[-1]["error"]["code"] == "rate_limited"
    assert (await client.responses(stream=True)).names[-1] == "response.output_item.done"


async def test_43_completion_carries_billing_and_quota(client):
    """``copilot_usage`` inside the response, snapshots beside it with entitlement as a string."""
    last = (await client.responses(stream=True)).events[-1]
    assert last["response"]["copilot_usage"]["total_nano_aiu"] > 0
    assert last["copilot_quota_snapshots"]["premium_interactions"]["entitlement"] == "300"


async def test_44_the_websocket_handshake_is_refused():
    """404 where the server can say it, else the socket is closed."""
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await Simulator()({"type": "websocket", "extensions": {"websocket.http.response": {}}}, receive, send)
    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 404)
    sent.clear()
    await Simulator()({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_custom_tools_and_namespaces(client):
    """Freeform calls carry ``input``; a namespaced call names its namespace when done, and must when it comes back."""
    group = {"type": "namespace", "name": "files", "description": "d", "tools": [READ]}
    patch = {"type": "custom", "name": "apply_patch"}
    answer = await client.responses("apply_patch input=abc", tools=[patch], stream=True)
    names = answer.names
    assert "response.custom_tool_call_input.delta" in names
    assert answer.events[-1]["response"]["output"][-1]["input"] == "abc"
    answer = await client.responses("read_file path=a", tools=[group], stream=True)
    opened, done = [e["item"] for e in answer.events if "item" in e and e["item"]["type"] == "function_call"]
    assert "namespace" not in opened
    assert done["namespace"] == "files"
    result = {"type": "function_call_output", "call_id": done["call_id"], "output": "x"}
    history = [{"role": "user", "content": "x"}, {k: v for k, v in done.items() if k != "namespace"}, result]
    lost = await client.call(
        "/responses", {"model": "gpt-5.4", "input": history, "tools": [group]}, x_initiator="agent"
    )
    assert "Missing namespace for function_call" in lost.text


@pytest.mark.parametrize(
    ("quirk", "check"),
    [
        (Quirk.SUMMARY_AT_END, lambda a: "response.reasoning_summary_text.delta" not in a.names),
        (Quirk.OBFUSCATION, lambda a: any("obfuscation" in event for event in a.events)),
        (Quirk.CHAT_SHAPED_END, lambda a: "choices" in a.events[-1]),
    ],
)
async def test_smaller_habits(client, quirk, check):
    """Summaries that come whole, padding against length guessing, a last line of another dialect."""
    client.simulator.enqueue(Reply(text="Hi.", reasoning="Hm.", quirks=frozenset({quirk})))
    assert check(await client.responses(stream=True, reasoning=THINK))


async def test_sealed_argument_deltas_are_plain_when_done(client):
    """Deltas cannot be read, ``done`` has the text."""
    client.simulator.enqueue(
        Reply(tool_calls=(("read_file", {"path": "a"}),), quirks=frozenset({Quirk.SEALED_ARGUMENTS}))
    )
    events = (await client.responses(stream=True)).events
    deltas = "".join(e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta")
    (done,) = [e for e in events if e["type"] == "response.function_call_arguments.done"]
    assert done["arguments"] == '{"path":"a"}' != deltas


async def test_a_refusal_has_its_own_part(client):
    """Deltas and part say ``refusal``."""
    client.simulator.enqueue(Reply(text="No.", finish=Finish.REFUSAL))
    answer = await client.responses(stream=True)
    assert "response.refusal.delta" in answer.names
    assert answer.events[-1]["response"]["output"][0]["content"][0] == {"type": "refusal", "refusal": "No."}


async def test_reasoning_without_a_summary_shows_none(client):
    """Thoughts are sealed unless a summary was asked for."""
    answer = (await client.responses("think", reasoning={"effort": "low"})).json
    assert answer["output"][0]["summary"] == []
    assert answer["output"][0]["encrypted_content"]


async def test_images_in_function_outputs_are_seen(client):
    """An image in an output counts as an image; without the header that is noted, not refused."""
    call = {"type": "function_call", "call_id": "c1", "name": "shot", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_image", "image_url": PNG}]}
    body = {"model": "gpt-5.4", "input": [{"role": "user", "content": "x"}, call, output]}
    answer = await client.call("/responses", body, x_initiator="agent")
    assert "I see 1 image: image/png." in answer.text
    assert rules(client.simulator) == ["vision-header"]


async def test_lifespan_is_answered():
    """Startup and shutdown complete."""
    sent, incoming = [], iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive():
        await anyio.lowlevel.checkpoint()
        return {"type": next(incoming)}

    async def send(message):
        sent.append(message["type"])

    await Simulator()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
