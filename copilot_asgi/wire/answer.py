"""A whole answer on the native route: looked at just enough to know that it is one."""

from copilot_asgi.errors import MalformedResponse
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, is_null, read_array, read_object, starts_with

__all__ = ["check_answer", "check_list", "read_answer"]


def check_answer(body: bytes) -> bytes:
    """``body`` itself. Raises like ``read_answer``."""
    read_answer(body)
    return body


def read_answer(body: bytes) -> Fields:
    """The top level of the answer.

    Raises ``MalformedResponse`` for what is no JSON object in UTF-8, ``UpstreamStatus`` for an error under 200.
    """
    try:
        fields = read_object(body)
        body.decode()  # the values were passed over; what leaves must be text all the same (RFC 8259, 8.1)
    except NOT_JSON:
        raise MalformedResponse("GitHub Copilot sent an answer that is not JSON.") from None
    # A Responses answer has an error field of its own, beside its output.
    if "error" in fields and not is_null(fields["error"]) and "output" not in fields:
        raise error_under_success(body)
    return fields


def check_list(fields: Fields, name: str) -> None:
    """Raise ``MalformedResponse`` unless the value under ``name`` is a list of objects."""
    try:
        items = read_array(fields[name])
    except (*NOT_JSON, KeyError):
        items = [NULL]
    if not all(starts_with(item, b"{") for item in items):
        raise MalformedResponse(f"GitHub Copilot sent an answer whose {name} cannot be read.")
