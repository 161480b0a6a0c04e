"""A request from what came in, for dialects that say some of it elsewhere than in the body.

Gemini names the model and asks for a stream in the path, Ollama streams unless told not to, and both have more than one
form of asking.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import parse_qs

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.exchange import Headers, Request
from copilot_asgi.paths import Target
from copilot_asgi.translate.ollama_embed import embed_request
from copilot_asgi.translate.ollama_request import wants_stream
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.shallow import NOT_JSON, Fields, read_object

__all__ = ["read_request"]

MODEL_LIMIT = 256


def read_request(target: Target, headers: Headers, parameters: str, body: bytes) -> Request:
    """The request that ``target`` is asked with; ``parameters`` is the query string. Raises ``BadRequest``."""
    read = _READERS.get(target.endpoint.name)
    if read is None:
        assert target.endpoint.dialect is not None
        return Request.decode(target.endpoint.dialect, headers, body)
    return read(target, headers, parameters, body)


def _gemini(target: Target, headers: Headers, parameters: str, body: bytes) -> Request:
    if not target.argument.isprintable() or len(target.argument) > MODEL_LIMIT:
        raise BadRequest("The model in the path must be a short printable name.", param="model")
    fields = {**_fields(body), "model": msgspec.Raw(msgspec.json.encode(target.argument))}
    streams = target.endpoint.name == "gemini_stream"
    as_events = parse_qs(parameters).get("alt") == ["sse"]
    return Request(
        dialect=Dialect.GEMINI,
        headers=headers,
        body=body,
        fields=fields,
        model=target.argument,
        stream=streams,
        form="array" if streams and not as_events else "",
    )


def _ollama(target: Target, headers: Headers, parameters: str, body: bytes) -> Request:  # noqa: ARG001 - one shape
    request = Request.decode(Dialect.OLLAMA, headers, body)
    form = "generate" if target.endpoint.name == "ollama_generate" else ""
    return msgspec.structs.replace(request, stream=wants_stream(request.fields), form=form)


def _ollama_embed(target: Target, headers: Headers, parameters: str, body: bytes) -> Request:  # noqa: ARG001
    request = Request.decode(Dialect.EMBEDDINGS, headers, embed_request(_fields(body)))
    return msgspec.structs.replace(request, form=target.endpoint.name)


def _fields(body: bytes) -> Fields:
    try:
        return read_object(body)
    except NOT_JSON:
        raise BadRequest("The request body is not a JSON object, or is nested too deeply.") from None


_READERS: Mapping[str, Callable[[Target, Headers, str, bytes], Request]] = MappingProxyType(
    {
        "gemini_generate": _gemini,
        "gemini_stream": _gemini,
        "gemini_count": _gemini,
        "ollama_chat": _ollama,
        "ollama_generate": _ollama,
        "ollama_embed": _ollama_embed,
        "ollama_embeddings": _ollama_embed,
    }
)
