"""Ollama requests, from clients only: ``/api/chat`` and ``/api/generate`` as neutral conversations.

Rule: every field is kept, named as lost, or refused. An answer is streamed unless the client says otherwise; a request
that asks nothing only wants the model loaded, and needs no upstream.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.chat_tools import Toolbox, read_tools
from copilot_asgi.translate.conversation import Conversation, Loss, Role, Text, Turn
from copilot_asgi.translate.ollama_messages import History, images_of, read_messages
from copilot_asgi.translate.ollama_options import Options, read_format, read_options, read_thinking
from copilot_asgi.translate.typed_fields import read_fields
from copilot_asgi.wire.shallow import Fields, is_null

__all__ = ["is_load_request", "parse_generate_request", "parse_request", "plain_model", "wants_stream"]

_TAG = ":latest"
_CHAT = frozenset({"messages", "tools"})
_GENERATE = frozenset({"images", "prompt", "system"})
_SHARED = frozenset({"format", "model", "options", "stream", "think"})
# They stand for what nobody but Ollama could put back: tokens of an earlier answer, a text on both sides of a gap.
_REFUSED = frozenset({"context", "suffix"})
# Whether an answer without the field may be another one; of fields that are not here nobody knows.
_LOST: Mapping[str, bool] = MappingProxyType(
    {"keep_alive": False, "logprobs": True, "raw": True, "shift": False, "template": True, "truncate": False}
)
# Values that say what would be the case anyway.
_IDLE = frozenset({b"0", b'""', b"[]", b"{}", b"false"})


class _Prompt(msgspec.Struct):
    model: str = ""
    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    stream: bool | None = None


_prompt_decoder = msgspec.json.Decoder(_Prompt)


def plain_model(name: str) -> str:
    """The id of a model by its name, which may have the usual tag."""
    return name.removesuffix(_TAG)


def wants_stream(fields: Fields) -> bool:
    """Whether the answer is to be streamed, which it is when nothing is said."""
    return bytes(fields.get("stream", b"null")) != b"false"


def is_load_request(fields: Fields) -> bool:
    """Whether the client only wants the model to be loaded: there is no message, or no prompt."""
    return all(bytes(fields.get(name, b"null")) in {b"null", b"[]", b'""'} for name in ("messages", "prompt"))


def parse_request(fields: Fields, *, stream: bool) -> Conversation:
    """The conversation of ``/api/chat``. Raises ``BadRequest`` naming the field that cannot be read."""
    given = _present(fields)
    if "messages" not in given:
        raise BadRequest("The field 'messages' is missing.", code="missing_field", param="messages")
    history = read_messages(given["messages"])
    toolbox = read_tools({name: given[name] for name in given.keys() & {"tools"}})
    return _conversation(given, history, toolbox, stream=stream, served=_CHAT)


def parse_generate_request(fields: Fields, *, stream: bool) -> Conversation:
    """The conversation of ``/api/generate``: one prompt. Raises ``BadRequest`` naming the field that cannot be read."""
    given = _present(fields)
    asked = read_fields(_prompt_decoder, given, code="invalid_type")
    turn = Turn(Role.USER, (Text(asked.prompt or ""), *images_of(asked.images or ())))
    history = History((Text(asked.system),) if asked.system else (), (turn,), ())
    return _conversation(given, history, Toolbox(), stream=stream, served=_GENERATE)


def _conversation(
    fields: Fields, history: History, toolbox: Toolbox, *, stream: bool, served: frozenset[str]
) -> Conversation:
    model = {name: fields[name] for name in fields.keys() & {"model"}}
    asked = read_fields(_prompt_decoder, model, code="invalid_type")
    options = read_options(fields["options"]) if "options" in fields else Options()
    return Conversation(
        model=plain_model(asked.model),
        stream=stream,
        system=history.system,
        turns=history.turns,
        tools=toolbox.tools,
        max_tokens=options.max_tokens,
        sampling=options.sampling,
        format=read_format(fields["format"]) if "format" in fields else None,
        reasoning=read_thinking(fields["think"]) if "think" in fields else None,
        extra=options.extra,
        losses=(*history.losses, *toolbox.losses, *options.losses, *_losses(fields, served | _SHARED)),
    )


def _present(fields: Fields) -> dict[str, msgspec.Raw]:
    return {name: value for name, value in fields.items() if not is_null(value)}


def _losses(fields: Fields, served: frozenset[str]) -> list[Loss]:
    said = [name for name, value in fields.items() if name not in served and bytes(value) not in _IDLE]
    for name in said:
        if name in _REFUSED:
            raise BadRequest(f"The field '{name}' cannot be served.", code="unsupported_value", param=name)
    return [Loss(name, matters=_LOST.get(name, True)) for name in said]
