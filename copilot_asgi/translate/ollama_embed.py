"""Ollama's embeddings over OpenAI's: the request as upstream takes it, the vectors as the client reads them.

Rule: vectors are copied, not read.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md#generate-embeddings.
"""

import msgspec

from copilot_asgi.errors import BadRequest, MalformedResponse
from copilot_asgi.translate.ollama_request import plain_model
from copilot_asgi.wire.error_body import error_under_success
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, is_null

__all__ = ["embed_request", "ollama_embed", "ollama_embeddings"]


class _Request(msgspec.Struct):
    model: str = ""
    input: str | list[str] | None = None
    prompt: str | None = None
    dimensions: int | None = None


class _Item(msgspec.Struct):
    embedding: msgspec.Raw
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Item] | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = NULL


_request_decoder = msgspec.json.Decoder(_Request)
_answer_decoder = msgspec.json.Decoder(_Answer)


def embed_request(fields: Fields) -> bytes:
    """OpenAI's request for ``/api/embed``, or for the older ``/api/embeddings``, which has a ``prompt``.

    Raises ``BadRequest`` when there is no text.
    """
    known = {name: fields[name] for name in fields if name in _Request.__struct_fields__}
    try:
        given = _request_decoder.decode(msgspec.json.encode(known))
    except NOT_JSON:
        raise BadRequest(
            "The field 'input' must be a text or a list of texts.", code="invalid_type", param="input"
        ) from None
    texts = [given.input] if isinstance(given.input, str) else given.input or [given.prompt or ""]
    if not any(texts):
        raise BadRequest("The field 'input' is missing.", code="missing_field", param="input")
    dimensions = {} if given.dimensions is None else {"dimensions": given.dimensions}
    return msgspec.json.encode({"model": plain_model(given.model), "input": texts, **dimensions})


def ollama_embed(body: bytes, *, model: str) -> bytes:
    """The answer of ``/api/embed`` from OpenAI's.

    Raises ``MalformedResponse``, or ``UpstreamStatus`` for an error under 200.
    """
    answer = _read(body)
    tokens = (answer.usage and answer.usage.prompt_tokens) or 0
    counts = {"total_duration": 1, "load_duration": 1, "prompt_eval_count": tokens}
    return msgspec.json.encode({"model": model, "embeddings": _vectors(answer), **counts})


def ollama_embeddings(body: bytes) -> bytes:
    """The answer of the older ``/api/embeddings`` from OpenAI's: one vector. Raises like ``ollama_embed``."""
    return msgspec.json.encode({"embedding": _vectors(_read(body))[0]})


def _read(body: bytes) -> _Answer:
    try:
        answer = _answer_decoder.decode(body)
    except NOT_JSON:
        raise _malformed() from None
    if not answer.data and not is_null(answer.error):
        raise error_under_success(body)
    if not answer.data:
        raise _malformed()
    return answer


def _malformed() -> MalformedResponse:
    return MalformedResponse("GitHub Copilot sent an embeddings answer that cannot be read.")


def _vectors(answer: _Answer) -> list[msgspec.Raw]:
    items = sorted(answer.data or (), key=lambda item: item.index or 0)
    return [item.embedding for item in items]
