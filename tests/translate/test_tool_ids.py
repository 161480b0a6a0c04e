"""Ids and names: kept when they fit, else rewritten the same way every time, and never two into one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.translate.ids import ToolNames, tool_id

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
TEXTS = st.one_of(st.text(st.characters(codec="utf-8"), max_size=90), st.from_regex(r"[a-c_:.]{1,4}", fullmatch=True))


@pytest.mark.parametrize("original", ["toolu_01A", "call_9-b", "x", "a" * 64])
def test_an_id_that_fits_stays(original: str) -> None:
    """Ids that every upstream takes are not touched."""
    assert tool_id(original) == original


@pytest.mark.parametrize(
    ("original", "start"),
    [("functions.f:0", "functions_f_0_"), ("a" * 65, "a" * 50 + "_"), ("", "_"), ("Ä b", "__b_"), ("x\n", "x__")],
)
def test_an_id_that_does_not_fit_keeps_its_start_and_gets_a_hash(original: str, start: str) -> None:
    """What is rewritten stays recognisable, and ends in ten hexadecimal digits."""
    fitted = tool_id(original)
    assert fitted.startswith(start)
    assert re.fullmatch(r"[0-9a-f]{10}", fitted[len(start) :])


def test_the_limit_alone_makes_an_id_not_fit() -> None:
    """A caller may allow longer ids than the usual 64 characters."""
    assert tool_id("a" * 100, limit=100) == "a" * 100
    assert len(tool_id("a" * 101, limit=100)) == 61


@given(st.sets(TEXTS, max_size=20))
def test_ids_stay_apart_legal_and_still(originals: set[str]) -> None:
    """Rewriting is injective, idempotent, and its results are legal."""
    fitted = {original: tool_id(original) for original in originals}
    assert len(set(fitted.values())) == len(originals)
    assert all(LEGAL.fullmatch(each) and tool_id(each) == each for each in fitted.values())


@given(st.sets(TEXTS, max_size=20))
def test_names_find_their_way_back(originals: set[str]) -> None:
    """Names upstream are legal and different, and each leads back to the client's."""
    names = ToolNames(originals)
    fitted = {original: names.to_upstream(original) for original in originals}
    assert len(set(fitted.values())) == len(originals)
    assert all(LEGAL.fullmatch(each) for each in fitted.values())
    assert {names.to_client(each) for each in fitted.values()} == originals


def test_a_name_that_is_too_long_keeps_fifty_five_characters() -> None:
    """The rest of the 64 is an underscore and eight hexadecimal digits."""
    long = "mcp__server__" + "n" * 60
    fitted = ToolNames().to_upstream(long)
    assert re.fullmatch(re.escape(long[:55]) + "_[0-9a-f]{8}", fitted)


def test_a_name_that_never_went_upstream_is_the_client_s() -> None:
    """The model may call what we did not rename, or make a name up; both stay as they are."""
    assert ToolNames(["read file"]).to_client("write_file") == "write_file"
