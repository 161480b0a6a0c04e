"""Reading JSON that breaks its promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.credentials.tolerant import flag, json_object, mapping, number, text

json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), ("12.5", 12.5), (-0.33, -0.33), (True, None), ("x", None), (None, None), ([], None), ("", None)]
    + [(float("inf"), None), ("nan", None), (10**400, None)],
)
def test_numbers_may_be_strings(value: object, expected: float | None) -> None:
    """A finite number, however written, or nothing."""
    assert number(value) == expected


@given(json_values)
def test_nothing_raises(value: object) -> None:
    """Every JSON value is either understood or missing."""
    assert isinstance(mapping(value), dict)
    assert text(value) is None or text(value) == value
    assert flag(value) is (value is True)
    number(value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b'{"a":', b"[" * 100_000])
def test_what_is_no_object_is_empty(body: bytes) -> None:
    """HTML, torn, empty and hostile bodies hold no field."""
    assert json_object(body) == {}


def test_an_object_is_read() -> None:
    """A JSON object is a mapping of its fields."""
    assert json_object(b'{"a": 1}') == {"a": 1}
