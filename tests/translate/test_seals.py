"""Envelopes: what goes in comes out, and nothing else looks like one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Seal, SealOrigin
from copilot_asgi.translate.seals import is_wrapped, unwrap, wrap

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
SEALS = st.builds(Seal, st.sampled_from(SealOrigin), TEXTS, TEXTS, TEXTS)
WHOLE = wrap(Seal(SealOrigin.SIGNATURE, "c2ln"), text="so I thought")


@given(SEALS, TEXTS)
def test_what_is_wrapped_is_unwrapped(seal: Seal, text: str) -> None:
    """Origin, data, id, phase and the text of a signature survive, in plain ASCII."""
    envelope = wrap(seal, text=text)
    assert re.fullmatch(r"[!-~]+", envelope)
    assert is_wrapped(envelope)
    assert unwrap(envelope) == (seal, text)


@given(st.one_of(TEXTS, st.binary(max_size=40).map(lambda data: data.hex())))
def test_what_is_not_ours_is_left_alone(value: str) -> None:
    """A value without our mark is native."""
    assert not is_wrapped(value)
    assert unwrap(value) is None


@pytest.mark.parametrize(
    "damaged",
    [WHOLE[:-3], WHOLE[:7], WHOLE[:6], WHOLE[:6] + "z" + WHOLE[7:], WHOLE + "ä", WHOLE[:7] + "e30="],
    ids=["cut", "empty", "without origin", "unknown origin", "not ASCII", "another payload"],
)
def test_a_damaged_envelope_is_refused(damaged: str) -> None:
    """Nobody could read it, so it never goes upstream."""
    with pytest.raises(BadRequest, match="sealed reasoning"):
        unwrap(damaged)
