"""Ready-made transforms: the text comes first, the client's own stays, and twice is once."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stages.bench import make_exchange

from copilot_asgi.errors import ConfigError
from copilot_asgi.exchange import Head, Request
from copilot_asgi.paths import resolve
from copilot_asgi.reading import read_request
from copilot_asgi.transforms import add_response_headers, add_system_prompt, rename_models
from copilot_asgi.translated import CLIENTS
from copilot_asgi.wire.dialect import Dialect

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
GEMINI = "/v1beta/models/gemini-pro:streamGenerateContent"
OLLAMA = "/api/chat"
GENERATE = "/api/generate"

HI = [{"role": "user", "content": "hi"}]
SYSTEM = {"role": "system", "content": "Be kind."}
TURN = [{"role": "user", "parts": [{"text": "hi"}]}]


def request_to(path: str, body: object) -> Request:
    """A request as the edge reads it."""
    target = resolve(path)
    assert target is not None
    return read_request(target, (), "", msgspec.json.encode(body))


def changed(path: str, body: object) -> dict[str, object]:
    """The body after adding a prompt, which twice is the same as once and leaves everything else as it was."""
    add = add_system_prompt("Be kind.")
    before = request_to(path, body)
    once = add(before)
    assert add(once) is once
    assert (once.model, once.stream, once.form, once.dialect) == (
        before.model,
        before.stream,
        before.form,
        before.dialect,
    )
    result: dict[str, object] = json.loads(once.body)
    return result


ADDED = [
    (CHAT, {"model": "m", "messages": HI}, {"messages": [SYSTEM, *HI]}),
    (CHAT, {"model": "m", "messages": [{"role": "system", "content": "own"}]},
     {"messages": [SYSTEM, {"role": "system", "content": "own"}]}),
    (OLLAMA, {"model": "m", "messages": HI}, {"messages": [SYSTEM, *HI]}),
    (MESSAGES, {"model": "m", "messages": HI}, {"system": "Be kind."}),
    (MESSAGES, {"model": "m", "system": None}, {"system": "Be kind."}),
    (MESSAGES, {"model": "m", "system": ""}, {"system": "Be kind."}),
    (MESSAGES, {"model": "m", "system": "own"}, {"system": "Be kind.\n\nown"}),
    (MESSAGES, {"model": "m", "system": []}, {"system": [{"type": "text", "text": "Be kind."}]}),
    (MESSAGES, {"model": "m", "system": [{"type": "text", "text": "own"}]},
     {"system": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "own"}]}),
    (RESPONSES, {"model": "m", "input": "hi"}, {"instructions": "Be kind."}),
    (RESPONSES, {"model": "m", "input": "hi", "instructions": "own"}, {"instructions": "Be kind.\n\nown"}),
    (GENERATE, {"model": "m", "prompt": "hi"}, {"system": "Be kind."}),
    (GENERATE, {"model": "m", "prompt": "hi", "system": "own"}, {"system": "Be kind.\n\nown"}),
    (GEMINI, {"contents": TURN}, {"systemInstruction": {"parts": [{"text": "Be kind."}]}, "model": "gemini-pro"}),
    (GEMINI, {"contents": TURN, "systemInstruction": {"role": "system"}},
     {"systemInstruction": {"role": "system", "parts": [{"text": "Be kind."}]}, "model": "gemini-pro"}),
    (GEMINI, {"contents": TURN, "system_instruction": {"parts": [{"text": "own"}]}},
     {"system_instruction": {"parts": [{"text": "Be kind."}, {"text": "own"}]}, "model": "gemini-pro"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "changes"), ADDED)
def test_a_system_prompt_comes_first(path: str, body: dict[str, object], changes: dict[str, object]) -> None:
    """In each dialect's own place, before what the client put there; nothing else changes."""
    assert changed(path, body) == {**body, **changes}


LEFT = [
    (CHAT, {"model": "m"}),
    (CHAT, {"model": "m", "messages": None}),
    (CHAT, {"model": "m", "messages": "hi"}),
    (OLLAMA, {"model": "m", "messages": []}),
    (GENERATE, {"model": "m", "prompt": ""}),
    (GENERATE, {"model": "m", "prompt": "hi", "system": 1}),
    (MESSAGES, {"model": "m", "system": {}}),
    (RESPONSES, {"model": "m", "instructions": ["hi"]}),
    (GEMINI, {"contents": TURN, "systemInstruction": "text"}),
    (GEMINI, {"contents": TURN, "systemInstruction": {"parts": "text"}}),
    ("/v1/embeddings", {"model": "m", "input": "hi"}),
]


@pytest.mark.parametrize(("path", "body"), LEFT)
def test_what_asks_nothing_or_is_wrong_is_left_alone(path: str, body: dict[str, object]) -> None:
    """A load request stays one, embeddings have no instructions, and errors are for others to find."""
    before = request_to(path, body)
    assert add_system_prompt("Be kind.")(before) is before


@given(
    st.text(min_size=1).filter(lambda text: text.encode("utf-8", "replace").decode() == text),
    st.sampled_from([each for each in ADDED if each[0] != GEMINI]),
)
def test_any_text_comes_first_once(text: str, case: tuple[str, dict[str, object], object]) -> None:
    """Whatever it holds, and the request stays one of its dialect."""
    path, body, _ = case
    add = add_system_prompt(text)
    once = add(request_to(path, body))
    assert text in json.dumps(json.loads(once.body), ensure_ascii=False) or json.dumps(text)[1:-1] in json.dumps(
        json.loads(once.body)
    )
    assert add(once).body == once.body


ASKS = {
    CHAT: {"model": "m", "messages": HI},
    MESSAGES: {"model": "m", "messages": HI, "max_tokens": 9},
    RESPONSES: {"model": "m", "input": "hi"},
    GEMINI: {"contents": TURN},
    OLLAMA: {"model": "m", "messages": HI},
    GENERATE: {"model": "m", "prompt": "hi"},
}


@pytest.mark.parametrize("path", ASKS)
def test_the_model_is_told_the_text_first(path: str) -> None:
    """The dialect's own reader finds the text at the beginning of the instructions."""
    form = "generate" if path == GENERATE else ""
    request = add_system_prompt("Be kind.")(request_to(path, ASKS[path]))
    conversation = CLIENTS[request.dialect, form].parse(request.fields, stream=request.stream)
    assert conversation.system[0].text == "Be kind."


def test_an_empty_text_is_refused() -> None:
    """It would be a mistake in the configuration."""
    with pytest.raises(ConfigError, match="empty"):
        add_system_prompt("")


@pytest.mark.parametrize(("path", "body"), [(CHAT, {"model": "fast"}), (OLLAMA, {"model": "fast"})])
def test_models_are_renamed(path: str, body: object) -> None:
    """In the body as well, and streams stay streams."""
    before = request_to(path, body)
    after = rename_models({"fast": "gpt-5-mini", "gpt-5-mini": "x"})(before)
    assert (after.model, bytes(after.fields["model"]), after.stream) == ("gpt-5-mini", b'"gpt-5-mini"', before.stream)


def test_a_gemini_model_is_renamed() -> None:
    """Its name stands in the path, its stream too."""
    after = rename_models({"gemini-pro": "gpt-5-mini"})(request_to(GEMINI, {"contents": TURN}))
    assert (after.model, after.stream) == ("gpt-5-mini", True)


@pytest.mark.parametrize("name", ["other", "same"])
def test_other_models_keep_their_names(name: str) -> None:
    """The request is the same object."""
    before = request_to(CHAT, {"model": name})
    assert rename_models({"fast": "gpt-5-mini", "same": "same"})(before) is before


def test_headers_are_set() -> None:
    """On the head only; one that is there is replaced, whatever its case here."""
    add = add_response_headers({"X-Team": "blue", "Server-Timing": "a;dur=1"})
    head = add(make_exchange(), Head(200, ((b"content-type", b"a/b"), (b"x-team", b"red"))))
    assert head == Head(200, ((b"content-type", b"a/b"), (b"x-team", b"blue"), (b"server-timing", b"a;dur=1")))
    assert add(make_exchange(), b"piece") == b"piece"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("a b", "x"),
        ("a\r\nb", "x"),
        ("\u00e4", "x"),
        ("Content-Length", "3"),
        ("transfer-encoding", "chunked"),
        ("x", "a\r\nset-cookie: b"),
        ("x", "\u00e4"),
        ("x", "\x00"),
    ],
)
def test_what_is_no_header_is_refused(name: str, value: str) -> None:
    """A line end would be another header, a length another message."""
    with pytest.raises(ConfigError, match="add_response_headers"):
        add_response_headers({name: value})


def test_a_long_history_is_copied_not_read() -> None:
    """What stands behind the first message comes out byte for byte, also what only looks like JSON text."""
    turn = b'{"role" : "user","content":"\\u0041 \xc3\xa4 1.0e5","n":1.0e5}'
    before = Request.decode(Dialect.CHAT, (), b'{"model":"m","messages":[ ' + turn + b" , " + turn + b" ]}")
    after = add_system_prompt("Be kind.")(before)
    assert bytes(after.fields["messages"]) == b'[{"role":"system","content":"Be kind."},' + turn + b" , " + turn + b" ]"
