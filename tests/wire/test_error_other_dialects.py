"""Errors as Gemini and Ollama clients read them: Google's status words, Ollama's one line of text."""

import json

import pytest

from copilot_asgi.errors import BadRequest, CopilotASGIError, StreamInterrupted, UpstreamStatus
from copilot_asgi.wire.dialect import Dialect, error_event, render_error
from copilot_asgi.wire.sse import EventParser

# upstream status, then the status and the word that Google has for it
STATUSES = [
    (400, 400, "INVALID_ARGUMENT"),
    (401, 401, "UNAUTHENTICATED"),
    (402, 429, "RESOURCE_EXHAUSTED"),
    (403, 403, "PERMISSION_DENIED"),
    (404, 404, "NOT_FOUND"),
    (405, 405, "UNIMPLEMENTED"),
    (408, 504, "DEADLINE_EXCEEDED"),
    (409, 409, "ABORTED"),
    (413, 413, "INVALID_ARGUMENT"),
    (415, 415, "INVALID_ARGUMENT"),
    (418, 400, "INVALID_ARGUMENT"),
    (421, 502, "INTERNAL"),
    (422, 400, "INVALID_ARGUMENT"),
    (424, 502, "UNAVAILABLE"),
    (429, 429, "RESOURCE_EXHAUSTED"),
    (466, 400, "FAILED_PRECONDITION"),
    (499, 502, "INTERNAL"),
    (500, 500, "INTERNAL"),
    (502, 502, "INTERNAL"),
    (503, 503, "UNAVAILABLE"),
    (504, 504, "DEADLINE_EXCEEDED"),
    (529, 503, "UNAVAILABLE"),
]
LONG = b'{"error":{"message":"prompt token count of 5 exceeds the limit of 4"}}'
LONG_WITHOUT_NUMBERS = b'{"error":{"message":"too long","code":"context_length_exceeded"}}'


def upstream(status: int, body: bytes = b'{"error":{"message":"what happened"}}') -> UpstreamStatus:
    return UpstreamStatus(status, (), body)


def told(error: CopilotASGIError, dialect: Dialect) -> tuple[int, dict]:
    rendered = render_error(error, dialect, request_id="r", now=0.0)
    return rendered.status, json.loads(rendered.body)


@pytest.mark.parametrize("row", STATUSES, ids=lambda row: str(row[0]))
def test_gemini_statuses(row: tuple[int, int, str]) -> None:
    """Google's clients read a status word, and the number again in the body."""
    status, told_status, word = row
    found, body = told(upstream(status), Dialect.GEMINI)
    assert found == body["error"]["code"] == told_status
    assert body["error"]["status"] == word
    assert body["error"].keys() == {"code", "message", "status"}
    assert body["error"]["message"].startswith("what happened")


@pytest.mark.parametrize(("status", "expected"), [(400, 400), (402, 402), (422, 400), (503, 503), (529, 503)])
def test_ollama_statuses(status: int, expected: int) -> None:
    """Ollama says it all in one text; the status stays what an OpenAI client gets."""
    found, body = told(upstream(status), Dialect.OLLAMA)
    assert found == expected
    assert body.keys() == {"error"}
    assert body["error"].startswith("what happened")


@pytest.mark.parametrize(
    ("body", "gemini", "ollama"),
    [
        (
            LONG,
            "The input token count (5) exceeds the maximum number of tokens allowed (4).",
            "maximum context length is 4 tokens",
        ),
        (
            LONG_WITHOUT_NUMBERS,
            "The input token count exceeds the maximum number of tokens allowed.",
            "maximum context length",
        ),
    ],
)
def test_a_prompt_that_is_too_long(body: bytes, gemini: str, ollama: str) -> None:
    """Google's own sentence; for Ollama the one that most agents look for."""
    status, found = told(upstream(400, body), Dialect.GEMINI)
    assert (status, found["error"]["message"], found["error"]["status"]) == (400, gemini, "INVALID_ARGUMENT")
    assert ollama in told(upstream(400, body), Dialect.OLLAMA)[1]["error"]


def test_gemini_names_the_field() -> None:
    """There is no key for the field at fault, so the message begins with it."""
    assert told(BadRequest("No.", param="contents"), Dialect.GEMINI)[1]["error"]["message"] == "contents: No."
    assert told(BadRequest("No."), Dialect.GEMINI)[1]["error"]["message"] == "No."


def test_gemini_error_event() -> None:
    """In a stream the error is a chunk of its own, with nothing but the error in it."""
    [event] = EventParser().feed(error_event(StreamInterrupted("Cut."), Dialect.GEMINI, request_id="r"))
    assert event.event == "message"
    assert json.loads(event.data) == {"error": {"code": 502, "message": "Cut.", "status": "INTERNAL"}}


def test_ollama_error_line() -> None:
    """In a stream the error is a line like any other."""
    line = error_event(StreamInterrupted("Cut."), Dialect.OLLAMA, request_id="r")
    assert line == b'{"error":"Cut."}\n'
