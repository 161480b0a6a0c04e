"""What upstream should never send, and what it may send in any order: answers or typed errors, nothing else."""

import json

import dialects
import pytest
import sdk_models
from dialects import ASKED, sent
from generators import NOISE, answers, damage, wild_answers
from grammars import CHECKS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilot_asgi.errors import MalformedResponse, StreamInterrupted, UpstreamStatus
from copilot_asgi.translate.events import Event, check, fold

each_dialect = pytest.mark.parametrize("name", dialects.NAMES)
each_crossing = pytest.mark.parametrize(("upstream", "client"), dialects.CROSSED)
some = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TYPED = (MalformedResponse, StreamInterrupted, UpstreamStatus)


@each_crossing
@given(events=wild_answers())
@some
def test_parts_may_come_in_any_order(upstream: str, client: str, events: list[Event]) -> None:
    """Text behind calls, thinking twice, refusals, empty parts, no usage: the client's grammar holds all the same."""
    out = dialects.stream(upstream, client, [sent(upstream, check(events))], ASKED)
    CHECKS[client](out, complete=True)
    for event in out:
        if event["data"] != "[DONE]":
            sdk_models.check_event(client, event["data"])
    sdk_models.accumulated(client, out)


@each_dialect
@given(events=wild_answers())
@some
def test_a_whole_answer_fits_the_library(name: str, events: list[Event]) -> None:
    """Whatever the parts, the library's model takes the answer, and our own reader too."""
    reply = fold(check(events))
    body = json.loads(dialects.answers(name).render_reply(reply, ASKED, id=dialects.ID, created=dialects.CREATED))
    sdk_models.check_answer(name, body)
    list(check(dialects.answers(name).decode_answer(json.dumps(body).encode(), names=dialects.ToolNames())))


@each_dialect
@given(noise=st.lists(NOISE, max_size=4))
@some
def test_noise_is_a_typed_error(name: str, noise: list[object]) -> None:
    """Events of any JSON give legal events or one of the errors that every relay knows."""
    quietly(name, dialects.wire([{"data": json.dumps(each)} for each in noise]))


@each_dialect
@given(events=answers(), data=st.data())
@settings(some, max_examples=80)
def test_a_damaged_event_is_a_typed_error(name: str, events: list[Event], data: st.DataObject) -> None:
    """One odd value in a sound stream is passed over or refused, and never becomes an illegal answer."""
    out = [event for event in dialects.server_sent(name, sent(name, events)) if event["data"] != "[DONE]"]
    damage(data.draw(st.sampled_from(out))["data"], data.draw)
    quietly(name, dialects.wire(out))


@each_dialect
@given(events=answers(), data=st.data())
@settings(some, max_examples=80)
def test_a_damaged_answer_is_a_typed_error(name: str, events: list[Event], data: st.DataObject) -> None:
    """The same for answers that do not stream."""
    reply = fold(events)
    body = json.loads(dialects.answers(name).render_reply(reply, ASKED, id=dialects.ID, created=dialects.CREATED))
    damage(body, data.draw)
    try:
        list(check(dialects.answers(name).decode_answer(json.dumps(body).encode(), names=dialects.ToolNames())))
    except TYPED:
        return


@each_dialect
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"3", b'"x"', b"{", b"{}", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_answer_is_a_typed_error(name: str, body: bytes) -> None:
    """Gateways answer with all sorts of things."""
    with pytest.raises(TYPED):
        fold(dialects.answers(name).decode_answer(body, names=dialects.ToolNames()))


@each_dialect
@pytest.mark.parametrize("text", [b"", b"\n\n", b": ping\n\n", b"data: {\n\n", b"data: \xff\n\n", b"data: [DONE]\n\n"])
def test_a_stream_that_says_nothing_is_a_typed_error(name: str, text: bytes) -> None:
    """An empty stream is not an empty answer."""
    with pytest.raises(TYPED):
        list(dialects.decoded(name, [text]))


def quietly(name: str, text: bytes) -> None:
    """Read a stream; what was read is legal, as far as it went."""
    told: list[Event] = []
    try:
        told.extend(dialects.decoded(name, [text]))
    except TYPED:
        assert illegality(told) in {"", "the answer has no end"}
        return
    assert illegality(told) == ""


def illegality(told: list[Event]) -> str:
    try:
        list(check(told))
    except AssertionError as error:
        return str(error)
    return ""
