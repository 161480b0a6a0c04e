"""Streams that go wrong, and leaving in the middle (checklist line 32)."""

import anyio
import pytest
from simulator_client import PNG, Client, Clock, tool

from copilot_asgi.simulator import Fault, Quirk, Reply, Simulator

pytestmark = pytest.mark.anyio


def quirky(*quirks, text="äöü €uro", **more):
    return Reply(text=text, quirks=frozenset(quirks), **more)


async def test_32_an_error_in_the_middle_keeps_200(client):
    """The error object is the last event; no ``[DONE]``."""
    client.simulator.enqueue(Fault(error_after=3))
    answer = await client.chat(stream=True)
    assert answer.status == 200
    assert answer.events[-1] == {"error": {"message": "upstream model provider error", "code": "internal_error"}}
    assert len(answer.events) == 4
    assert answer.complete


@pytest.mark.parametrize("path", ["chat", "responses", "messages"])
async def test_32_every_dialect_has_its_own_error_event(client, path):
    """Chat has bare data, the others a named ``error`` event."""
    client.simulator.enqueue(Fault(error_after=1))
    answer = await getattr(client, path)(stream=True)
    assert answer.names[-1:] == ([] if path == "chat" else ["error"])
    assert "message" in answer.events[-1].get("error", answer.events[-1])


@pytest.mark.parametrize(("after", "events"), [(0, 0), (2, 2), (-1, 6), (100, 7)])
async def test_32_a_stream_may_end_early(client, after, events):
    """Cut after so many events, or so many from the end; the response ends cleanly."""
    client.simulator.enqueue(Reply(text="You said: hello", fault=Fault(cut_after=after)))
    answer = await client.chat(stream=True)
    assert len(answer.events) == events
    assert answer.complete
    assert not answer.dropped


async def test_32_the_connection_may_break(client):
    """The same cut, without an end of the response."""
    client.simulator.enqueue(Fault(cut_after=2, abort=True), Fault(cut_bytes=100, abort=True), Fault(drop=True))
    cut = await client.chat(stream=True)
    assert (len(cut.events), cut.dropped, cut.complete) == (2, True, False)
    torn = await client.chat(stream=True)
    assert (len(torn.body), torn.dropped) == (100, True)
    refused = await client.chat(stream=True)
    assert (refused.status, refused.dropped) == (0, True)


async def test_32_the_connection_may_break_at_the_very_end(client):
    """All events, and yet no end of the response."""
    client.simulator.enqueue(Fault(abort=True))
    answer = await client.chat(stream=True)
    assert (answer.events[-1], answer.dropped) == ("[DONE]", True)


async def test_32_bytes_may_be_cut_from_a_slow_stream(client, clock):
    """Pauses do not count; a limit beyond the end cuts nothing."""
    client.simulator.enqueue(Fault(cut_bytes=2000, gap=1, hang_after=0), Fault(cut_bytes=10**6))
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}], "stream": True}
    answer = await client.call("/chat/completions", body, leave_after="0")
    assert answer.body == b""
    assert (await client.chat(stream=True)).events[-1] == "[DONE]"


async def test_32_a_whole_answer_may_never_come(client):
    """The head, and then nothing until the client leaves."""
    client.simulator.enqueue(Fault(hang_after=0))
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}
    answer = await client.call("/chat/completions", body, leave_after="0")
    assert answer.body == b""
    assert len(client.simulator.disconnects) == 1


async def test_leaving_before_the_body_has_come_is_nobodys_business(client):
    """Nothing is recorded and nothing sent; connections of unknown types are ignored."""

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/chat/completions", "headers": []}
    await client.simulator(scope, receive, send)
    await client.simulator({"type": "telepathy"}, receive, send)
    assert client.simulator.requests == []


async def test_32_a_whole_answer_may_be_torn(client):
    """Fewer bytes than ``content-length`` says."""
    client.simulator.enqueue(Fault(cut_bytes=10))
    answer = await client.chat()
    assert (len(answer.body), int(answer.headers["content-length"]) > 10, answer.dropped) == (10, True, True)


async def test_32_endless_comments_until_the_client_leaves(client, clock):
    """Keep-alives and nothing else, until somebody hangs up; that is noticed at once."""
    client.simulator.enqueue(Fault(endless_comments=True, gap=1))
    answer = await client.call(
        "/chat/completions",
        {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}], "stream": True},
        leave_after="50",
    )
    assert answer.messages[-1] == b": keep-alive\n\n"
    assert not answer.complete
    assert len(answer.messages) <= 52
    assert client.simulator.disconnects == [clock.now]
    assert client.simulator.open_streams == 0


async def test_32_comments_before_the_first_event(client):
    """A few keep-alives do no harm."""
    client.simulator.enqueue(Fault(comments=3))
    answer = await client.chat(stream=True)
    assert answer.messages[:3] == [b": keep-alive\n\n"] * 3
    assert answer.events[-1] == "[DONE]"


async def test_32_a_hanging_stream_ends_when_the_client_leaves(client):
    """Nothing more comes; the simulator waits for the client, not for a clock."""
    client.simulator.enqueue(Fault(hang_after=2))
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}], "stream": True}
    answer = await client.call("/chat/completions", body, leave_after="2")
    assert len(answer.events) == 2
    assert len(client.simulator.disconnects) == 1


async def test_32_leaving_while_the_head_is_delayed(client):
    """A client that leaves before anything came is noticed too."""
    simulator = Simulator(sleep=lambda _: anyio.sleep_forever())
    patient = Client(simulator)
    token = await patient.exchange()
    simulator.enqueue(Fault(delay=60))
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}]}
    answer = await patient.call("/chat/completions", body, token=token, leave_after="0")
    assert answer.status == 0
    assert len(simulator.disconnects) == 1


async def test_32_open_streams_counts_those_being_sent(client):
    """While a stream hangs it is open."""
    client.simulator.enqueue(Fault(hang_after=1))
    token = await client.exchange()
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with anyio.move_on_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.call("/chat/completions", body, token=token))
            while client.simulator.open_streams == 0:
                await anyio.lowlevel.checkpoint()
            assert client.simulator.open_streams == 1
            group.cancel_scope.cancel()
    assert client.simulator.open_streams == 0


async def test_32_a_server_whose_send_fails_means_the_client_left(client):
    """``OSError`` from ``send`` ends the stream quietly."""
    token = await client.exchange()
    body = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"x"}],"stream":true}'
    headers = {"authorization": f"Bearer {token}", "editor-version": "x/1", "x-initiator": "user", "user-agent": "x"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/chat/completions",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    first = [True]

    async def receive():
        if not first.pop():
            await anyio.sleep_forever()
        first.append(False)
        return {"type": "http.request", "body": body}

    async def send(message):
        if message["type"] == "http.response.body":
            raise OSError

    await client.simulator(scope, receive, send)
    assert len(client.simulator.disconnects) == 1


async def test_32_finishing_is_not_leaving(client):
    """A disconnect that comes after the last byte is none."""
    await client.chat(stream=True)
    await client.chat()
    assert client.simulator.disconnects == []


async def test_32_lines_may_end_in_crlf(client):
    """Every line end, with the same events."""
    client.simulator.enqueue(quirky(Quirk.CRLF))
    answer = await client.chat(stream=True)
    assert b"\r\n\r\n" in answer.body
    assert b"\n\n" not in answer.body
    assert answer.events[-1] == "[DONE]"


@pytest.mark.parametrize("quirk", [Quirk.SPLIT_BYTES, Quirk.ONE_BYTE, Quirk.ONE_SEGMENT])
async def test_32_pieces_need_not_be_events(client, quirk):
    """Cut inside characters, byte by byte, or all at once: the bytes are the same."""
    client.simulator.enqueue(quirky(quirk))
    answer = await client.chat(stream=True)
    text = "".join(c["delta"].get("content") or "" for e in answer.events[1:-1] for c in e["choices"])
    assert text == "äöü €uro"
    if quirk is Quirk.SPLIT_BYTES:
        torn = [piece for piece in answer.messages if piece[:1] and piece[0] & 0xC0 == 0x80]
        assert torn, "at least one piece begins inside a character"
    if quirk is Quirk.ONE_SEGMENT:
        assert len(answer.messages) == 1


async def test_32_a_slow_drip_waits_between_events(client, clock):
    """The reply's delay, or the fault's gap."""
    client.simulator.enqueue(quirky(delay=0.5), Fault(gap=2))
    answer = await client.chat(stream=True)
    assert clock.slept == [0.5] * (len(answer.events) - 1)
    clock.slept.clear()
    answer = await client.chat(stream=True)
    assert clock.slept == [2] * (len(answer.events) - 1)


@pytest.mark.parametrize("path", ["chat", "responses", "messages"])
async def test_32_whitespace_may_flood_arguments(client, path):
    """Hundreds of blanks where a brace should be."""
    flood = frozenset({Quirk.WHITESPACE_FLOOD})
    client.simulator.enqueue(Reply(tool_calls=(("read", {"path": "a"}),), quirks=flood, size=4000))
    answer = await getattr(client, path)(stream=True)
    assert "\\n\\t" * 400 in answer.text


async def test_32_broken_json_and_doubled_events(client):
    """One line that is no JSON; every event twice."""
    client.simulator.enqueue(Fault(garbage_after=2), Fault(duplicate=True))
    garbled = await client.chat(stream=True)
    assert isinstance(garbled.events[2], str)
    assert garbled.events[-1] == "[DONE]"
    doubled = (await client.chat(stream=True)).events
    assert doubled[0::2] == doubled[1::2]


async def test_32_done_can_be_missing(client):
    """The stream just ends."""
    client.simulator.enqueue(quirky(Quirk.NO_DONE))
    answer = await client.chat(stream=True)
    assert answer.events[-1]["usage"] is not None
    assert answer.complete


async def test_faults_of_a_path_come_in_order_and_go_before_everything(client):
    """Even before the credentials are looked at."""
    client.simulator.fail("/chat/completions", Fault(status=500), Fault(status=529, body="x", headers=(("a", "b"),)))
    assert (await client.post("/chat/completions", {})).status == 500
    second = await client.chat()
    assert (second.status, second.text, second.headers["a"]) == (529, "x", "b")
    assert (await client.chat()).status == 200


async def test_a_faulty_reply_keeps_its_words(client):
    """A fault ordered for the path befalls the scripted reply."""
    client.simulator.enqueue(Reply(text="scripted words"))
    client.simulator.fail("/chat/completions", Fault(delay=3))
    assert "scripted words" in (await client.chat()).text


async def test_scripts_are_used_up_only_by_good_requests(client):
    """A refused request leaves the script alone."""
    client.simulator.enqueue(Reply(text="first"), Reply(text="second"))
    assert (await client.chat(model="nothing")).status == 400
    assert "first" in (await client.chat()).text
    assert "second" in (await client.chat()).text
    assert "You said" in (await client.chat()).text


async def test_real_time_is_only_a_default():
    """Without a clock the system's is used, and ids repeat with the same seed."""
    answers = [await Client(Simulator(seed=7)).chat() for _ in range(2)]
    assert answers[0].json["id"] == answers[1].json["id"]
    assert Client(Simulator()).simulator.settings.interval == 5


def test_the_tests_own_tools_hold_together():
    """The image is an image and the clock stands still."""
    assert PNG.startswith("data:image/png")
    assert Clock()() == Clock()()
    assert tool("a")["function"]["name"] == "a"
