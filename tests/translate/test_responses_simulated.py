"""Against the simulated Copilot: it takes what we write, and we read what it answers, oddities included."""

import json
from typing import Any

import anyio
import msgspec
import pytest
from dialects import ID, answers, parsed, rendered, server_sent

from copilot_asgi.simulator import Simulator, SimulatorSettings
from copilot_asgi.simulator.settings import ItemPairing
from copilot_asgi.translate.conversation import Conversation
from copilot_asgi.translate.events import Finish, Kind, Reply, check, fold
from copilot_asgi.translate.ids import ToolNames
from copilot_asgi.translate.responses_native import prepare_native
from copilot_asgi.translate.responses_stream import ResponsesDecoder, decode_answer, render_reply
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.responses import ResponsesStream
from copilot_asgi.wire.shallow import read_object

pytestmark = pytest.mark.anyio

HEADERS = {
    "editor-version": "vscode/1.110.1",
    "editor-plugin-version": "copilot-chat/0.38.2",
    "user-agent": "GitHubCopilotChat/0.38.2",
    "copilot-integration-id": "vscode-chat",
    "openai-intent": "conversation-panel",
    "x-github-api-version": "2025-05-01",
    "x-initiator": "agent",
}
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
READ = {"name": "read", "description": "Reads a file.", "input_schema": SCHEMA}
MODEL = msgspec.convert(
    {"id": "gpt-5.4", "capabilities": {"supports": {"reasoning_effort": ["low", "medium", "high", "xhigh"]}}}, Model
)
PATCH = {"type": "custom", "name": "patch", "description": "Edits.", "format": {"type": "text"}}


class Copilot:
    """A simulator that insists on the id and the content of one event, and a caller with a token for it."""

    def __init__(self) -> None:
        self.simulator = Simulator(settings=SimulatorSettings(item_pairing=ItemPairing.EVENT))
        self._token = ""

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        out: list[bytes] = []
        given = [(name.encode(), value.encode()) for name, value in {**HEADERS, **headers}.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "scheme": "https",
            "headers": given,
        }

        over = anyio.Event()
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not parts:
                await over.wait()
            return parts.pop() if parts else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            out.append(message.get("body", b""))
            if message["type"] == "http.response.body" and not message["more_body"]:
                over.set()

        await self.simulator(scope, receive, send)
        return b"".join(out)

    async def call(self, body: bytes) -> bytes:
        if not self._token:
            authorization = f"token {self.simulator.sign_in()}"
            path = "/copilot_internal/v2/token"
            told = await self.send("GET", path, host="api.github.com", authorization=authorization)
            self._token = json.loads(told)["token"]
        host, kind = "api.individual.githubcopilot.com", {"content-type": "application/json"}
        found = await self.send("POST", "/responses", body, host=host, authorization=f"Bearer {self._token}", **kind)
        assert [violation.rule for violation in self.simulator.violations] == [], found
        return found

    async def ask(self, conversation: Conversation) -> Reply:
        made = rendered("responses", conversation, MODEL)
        told = await self.call(made.body)
        if not conversation.stream:
            return fold(check(decode_answer(told, names=made.names)))
        decoder = ResponsesDecoder(names=made.names)
        return fold(check(decoder.feed(told) + decoder.finish()))


def asked(*messages: dict[str, object], stream: bool = True) -> Conversation:
    fields = {"model": "gpt-5.4", "max_tokens": 4000, "stream": stream, "thinking": {"type": "adaptive"}}
    return parsed("messages", {**fields, "tools": [READ], "messages": messages})


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_messages_client_goes_round_the_tool_loop(stream: bool) -> None:
    """Reasoning comes back with the id and the content of one event, the call with its result; nothing is refused."""
    copilot = Copilot()
    question = user("read path=a.txt")
    first = await copilot.ask(asked(question, stream=stream))
    assert [part.kind for part in first.parts] == [Kind.THINKING, Kind.TEXT, Kind.TOOL_CALL]
    assert (first.finish, json.loads(first.parts[2].text)) == (Finish.TOOL_CALLS, {"path": "a.txt"})
    told = json.loads(answers("messages").render_reply(first, asked(question), id=ID, created=1))
    result = {"type": "tool_result", "tool_use_id": told["content"][-1]["id"], "content": "alpha"}
    again = asked(question, {"role": "assistant", "content": told["content"]}, user([result]), stream=stream)
    second = await copilot.ask(again)
    assert (second.finish, second.parts[-1].text) == (Finish.STOP, "The tool says: alpha")


QUIRKS = [
    "obfuscation",
    "summary_at_end",
    "blob_at_start",
    "sealed_arguments",
    "stable_ids",
    "inner_status",
    "chat_shaped_end",
]


@pytest.mark.parametrize("quirk", QUIRKS)
async def test_oddities_change_nothing(quirk: str) -> None:
    """The answer is the same, however Copilot tells it."""
    plain, odd = Copilot(), Copilot()
    expected = await plain.ask(asked(user("read path=a.txt [sim size=3]")))
    found = await odd.ask(asked(user(f"read path=a.txt [sim size=3 quirk={quirk}]")))
    assert [(part.kind, part.text) for part in found.parts] == [(part.kind, part.text) for part in expected.parts]
    assert found.finish is expected.finish
    assert found.usage is not None


@pytest.mark.parametrize("stream", [True, False])
async def test_a_responses_client_goes_round_on_the_native_route(stream: bool) -> None:
    """One id for each thing though Copilot rotates them; what the client sends back is taken."""
    copilot = Copilot()
    fields: dict[str, object] = {
        "model": "gpt-5.4",
        "stream": stream,
        "tools": [PATCH],
        "reasoning": {"summary": "auto"},
    }
    history: list[object] = [{"role": "user", "content": "patch input=abc"}]
    output = await native(copilot, {**fields, "input": history})
    assert [item["type"] for item in output] == ["reasoning", "message", "custom_tool_call"]
    result = {"type": "custom_tool_call_output", "call_id": output[-1]["call_id"], "output": "done"}
    output = await native(copilot, {**fields, "input": [*history, *output, result]})
    assert output[-1]["content"][0]["text"] == "The tool says: done"


async def native(copilot: Copilot, fields: dict[str, object]) -> list[dict[str, Any]]:
    text = json.dumps(fields).encode()
    changes = prepare_native(read_object(text), MODEL)
    kept = {name: value for name, value in read_object(text).items() if name not in changes}
    new = {name: msgspec.Raw(value) for name, value in changes.items() if value is not None}
    told = await copilot.call(msgspec.json.encode(kept | new))
    if not fields["stream"]:
        return list(json.loads(told)["output"])
    mender = ResponsesStream()
    data: list[dict[str, Any]] = [
        event["data"] for event in server_sent("responses", mender.feed(told) + mender.finish())
    ]
    assert len({each["response"]["id"] for each in data if "response" in each}) == 1
    items = [item for each in data for item in each.get("response", {}).get("output", [])]
    ids = {each["item_id"] for each in data if "item_id" in each} | {
        each["item"]["id"] for each in data if "item" in each
    }
    assert ids == {item["id"] for item in items}
    return items


async def test_a_reply_reads_as_it_was_written() -> None:
    """What we write for a client is what we would read from upstream."""
    conversation = parsed("responses", {"model": "m", "input": "x"})
    reply = await Copilot().ask(asked(user("read path=a.txt")))
    again = fold(check(decode_answer(render_reply(reply, conversation, id=ID, created=1), names=ToolNames())))
    seals = [msgspec.structs.replace(part, seal=None) for part in reply.parts]
    assert [*again.parts] == seals
    assert (again.finish, again.usage) == (reply.finish, reply.usage)
