"""Whole answers of the dialects that are passed on as they are."""

import pytest

from copilot_asgi.errors import MalformedResponse, UpstreamStatus
from copilot_asgi.wire.answer import check_answer


@pytest.mark.parametrize(
    "body", [b"{}", b'{"type":"message","content":[]}', b'{"error":null}', b'{"error":{},"output":[]}']
)
def test_an_answer_is_the_same_object(body: bytes) -> None:
    """What is an answer passes untouched; a Responses answer has an error field of its own."""
    assert check_answer(body) is body


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000])
def test_what_is_no_answer(body: bytes) -> None:
    """Anything that is no JSON object is refused."""
    with pytest.raises(MalformedResponse):
        check_answer(body)


def test_an_error_under_success() -> None:
    """An error that came with 200 is told as the error it is."""
    with pytest.raises(UpstreamStatus) as caught:
        check_answer(b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}')
    assert caught.value.status == 529
