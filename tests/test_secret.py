"""Secrets do not show."""

import copy
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.secret import MASK, Secret, redact

VALUE = "ghu_0123456789abcdefghij"


def test_every_way_of_showing_gives_the_mask() -> None:
    """repr, str, format, f-strings, containers, pickle and copies show nothing."""
    secret = Secret(VALUE)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>10}", f"{secret:>5}", repr([secret]), f"{[secret]}"]
    shown += [pickle.loads(pickle.dumps(secret)).reveal(), copy.deepcopy(secret).reveal()]
    assert VALUE not in "".join(shown)
    assert str(secret) == MASK
    assert secret.reveal() == VALUE


def test_json_refuses_a_secret() -> None:
    """A secret cannot slip into JSON."""
    with pytest.raises(TypeError):
        msgspec.json.encode({"token": Secret(VALUE)})


def test_secrets_compare_by_value() -> None:
    """Equal values are equal, others and other types are not, and an empty one is false."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))
    assert not Secret("")
    assert Secret("é") == Secret("é")


TOKENS = [
    "ghu_0123456789abcdef",
    "gho_0123456789abcdef",
    "github_pat_11AAAAAAA0abcdefgh_abcdef",
    "tid=0123;exp=1795180000;sku=monthly;proxy-ep=proxy.example:5f1d6a",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "sk-ant-REDACTED",
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "frame", ["{}", "refused {} at once", '{{"token":"{}"}}', "Bearer {}", "authorization: token {}"]
)
def test_tokens_are_cut_out_of_text(token: str, frame: str) -> None:
    """Whatever looks like a token is replaced, and the text around it stays."""
    text = redact(frame.format(token))
    assert token not in text
    assert MASK in text
    assert text.startswith(frame.format("\0").partition("\0")[0])


def test_anything_behind_bearer_is_cut() -> None:
    """A bearer credential of any form is replaced."""
    assert redact("Authorization: Bearer abc.def") == f"Authorization: Bearer {MASK}"


@pytest.mark.parametrize("text", ["bearer\tabc", "Bearer  abc", 'bearer "abc"', "BEARER 'abc'", "tid%3Dabc"])
def test_odd_spellings_are_cut_as_well(text: str) -> None:
    """Tabs, more blanks, quotes and percent signs do not hide a credential."""
    assert "abc" not in redact(text)


def test_known_secrets_are_cut_whatever_they_look_like() -> None:
    """A secret that is given is replaced even when it looks like a word."""
    assert redact("say hunter2 twice: hunter2", [Secret("hunter2"), Secret("")]) == f"say {MASK} twice: {MASK}"


def test_plain_text_stays() -> None:
    """Sentences about tokens are left alone."""
    for text in ("the token limit is 128000", "prompt token count of 9 exceeds the limit of 8", "a tidy task"):
        assert redact(text) == text


@given(before=st.text(), after=st.text(), token=st.sampled_from(TOKENS))
def test_no_token_survives_in_any_text(before: str, after: str, token: str) -> None:
    """Whatever stands around a token, separated by a space, the token does not get through."""
    assert token not in redact(f"{before} {token} {after}")
