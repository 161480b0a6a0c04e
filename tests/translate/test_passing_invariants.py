"""What must hold for whatever passes: native requests keep their bytes, errors keep their meaning."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.errors import UpstreamStatus
from copilot_asgi.exchange import Request
from copilot_asgi.native import plan_native
from copilot_asgi.routing import Route
from copilot_asgi.wire.dialect import Dialect, render_error
from copilot_asgi.wire.models import Model

USER = {"role": "user", "content": "hi"}
BASES: dict[Dialect, dict[str, Any]] = {
    Dialect.CHAT: {"model": "m", "messages": [USER]},
    Dialect.MESSAGES: {"model": "m", "max_tokens": 9, "messages": [USER]},
    Dialect.RESPONSES: {"model": "m", "store": False, "input": "hi"},
}
# A key that Copilot refuses, so that the request has to be edited.
EDITED: dict[Dialect, dict[str, Any]] = {
    Dialect.CHAT: {"service_tier": "auto"},
    Dialect.MESSAGES: {"service_tier": "auto"},
    Dialect.RESPONSES: {"service_tier": "auto"},
}
values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_", max_size=5), inner, max_size=3),
    max_leaves=8,
)
unknown = st.dictionaries(st.from_regex(r"x_[a-z]{1,8}", fullmatch=True), values, max_size=4)


def planned(dialect: Dialect, fields: dict[str, Any]) -> tuple[Request, Request]:
    body = json.dumps(fields).encode()
    request = Request.decode(dialect, (), body)
    plan = plan_native(request, Route(model=Model(id="m"), dialect=dialect), answer_id="1", now=1)
    return request, plan.request


@pytest.mark.parametrize("dialect", BASES)
@given(extra=unknown)
def test_a_native_request_that_needs_no_edit_keeps_its_bytes(dialect: Dialect, extra: dict[str, Any]) -> None:
    """Whatever unknown keys it holds, the very object goes on."""
    before, after = planned(dialect, {**BASES[dialect], **extra})
    assert after is before


@pytest.mark.parametrize("dialect", BASES)
@given(extra=unknown)
def test_unknown_keys_survive_an_edit(dialect: Dialect, extra: dict[str, Any]) -> None:
    """Where a key has to go, the others stay what they were."""
    before, after = planned(dialect, {**BASES[dialect], **extra, **EDITED[dialect]})
    assert after is not before
    assert json.loads(after.body) == {**BASES[dialect], **extra}


OPENAI, ANTHROPIC = Dialect.CHAT, Dialect.MESSAGES
messages = st.text(st.sampled_from("abcdefgh .,'é漢"), min_size=1, max_size=60).filter(lambda text: bool(text.strip()))


def told(status: int, body: bytes, dialect: Dialect) -> tuple[int, bytes]:
    rendered = render_error(UpstreamStatus(status, (), body), dialect, request_id="1", now=0.0)
    return rendered.status, rendered.body


@given(status=st.sampled_from([400, 401, 403, 404, 408, 409, 413, 429, 500, 502, 503, 504, 529]), message=messages)
def test_errors_keep_status_and_message_through_both_shapes(status: int, message: str) -> None:
    """From OpenAI's shape to Anthropic's and back: what happened is still told, under the same status."""
    first, openai_body = told(status, msgspec.json.encode({"error": {"message": message, "code": None}}), OPENAI)
    second, anthropic_body = told(first, openai_body, ANTHROPIC)
    third, last_body = told(second, anthropic_body, OPENAI)
    assert third == first
    anthropic, last = json.loads(anthropic_body), json.loads(last_body)
    assert set(anthropic) == {"type", "error", "request_id"}
    assert set(anthropic["error"]) == {"type", "message"}
    assert set(last["error"]) == {"message", "type", "param", "code"}
    said = " ".join(message.split())
    assert said in anthropic["error"]["message"]
    assert said in last["error"]["message"]
