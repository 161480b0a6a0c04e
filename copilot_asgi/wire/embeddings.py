"""Embeddings: what Copilot insists on in a request, and what it leaves out of an answer.

Rule: a client that works with OpenAI works here unchanged; what cannot be served is refused with the fix named.
"""

import struct
from base64 import b64decode, b64encode

import msgspec

from copilot_asgi.errors import BadRequest, MalformedResponse
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, Fields, is_null, read_array, read_object, starts_with

__all__ = ["complete_answer", "prepare", "wants_base64"]

_floats_decoder = msgspec.json.Decoder(list[float])
_text_decoder = msgspec.json.Decoder(str)
_LIST = msgspec.Raw(b'"list"')
_ITEM = msgspec.Raw(b'"embedding"')
_NO_USAGE = msgspec.Raw(b'{"prompt_tokens":0,"total_tokens":0}')


def wants_base64(fields: Fields) -> bool:
    """Whether the client asked for vectors as base64, as the OpenAI libraries do on their own."""
    return bytes(fields.get("encoding_format", b"")) == b'"base64"'


def prepare(fields: Fields) -> dict[str, bytes | None]:
    """Changes to the request: ``input`` becomes an array, base64 is left to ``complete_answer``, nulls are dropped.

    Raises ``BadRequest`` when ``input`` is not text.
    """
    changes: dict[str, bytes | None] = {name: None for name, value in fields.items() if is_null(value)}
    if wants_base64(fields):
        changes["encoding_format"] = None
    text = fields.get("input")
    if text is None or is_null(text):
        raise BadRequest("The field 'input' is missing.", code="missing_field", param="input")
    if starts_with(text, b'"'):
        changes["input"] = b"[" + bytes(text) + b"]"
    elif not starts_with(text, b"[") or not _all_strings(text):
        raise BadRequest(
            "The field 'input' must be a string or an array of strings: GitHub Copilot takes no token ids. "
            "With LangChain, set check_embedding_ctx_length=False.",
            code="invalid_type",
            param="input",
        )
    return changes


def complete_answer(body: bytes, *, model: str, base64: bool) -> bytes:
    """The answer with ``object``, ``model``, ``usage`` and each ``index`` present; the same object if they all were.

    With ``base64`` each vector becomes little-endian float32 in base64. Raises ``MalformedResponse``, or
    ``UpstreamStatus`` for an error under 200.
    """
    try:
        fields = read_object(body)
        if "data" not in fields and "error" in fields:
            raise error_under_success(body)
        items = [read_object(item) for item in read_array(fields["data"])]
        completed = [_complete_item(item, index, base64=base64) for index, item in enumerate(items)]
    except (*NOT_JSON, KeyError, ValueError, OverflowError):
        raise MalformedResponse("GitHub Copilot sent an embeddings answer that cannot be read.") from None
    missing = {"object": _LIST, "model": msgspec.Raw(msgspec.json.encode(model)), "usage": _NO_USAGE}
    whole = {**fields, **{name: value for name, value in missing.items() if _lacks(fields, name)}}
    if whole == fields and completed == items:
        return body
    return msgspec.json.encode({**whole, "data": completed})


def _all_strings(array: msgspec.Raw) -> bool:
    try:
        items = read_array(array)
    except NOT_JSON:
        return False
    return bool(items) and all(starts_with(item, b'"') for item in items)


def _lacks(fields: Fields, name: str) -> bool:
    return name not in fields or is_null(fields[name])


def _complete_item(item: dict[str, msgspec.Raw], index: int, *, base64: bool) -> dict[str, msgspec.Raw]:
    missing = {"object": _ITEM, "index": msgspec.Raw(b"%d" % index)}
    whole = {**item, **{name: value for name, value in missing.items() if _lacks(item, name)}}
    vector = item["embedding"]
    if base64 and starts_with(vector, b'"'):
        b64decode(_text_decoder.decode(vector), validate=True)
        return whole
    numbers = _floats_decoder.decode(vector)
    if base64:
        packed = b64encode(struct.pack(f"<{len(numbers)}f", *numbers))
        whole["embedding"] = msgspec.Raw(b'"' + packed + b'"')
    return whole
