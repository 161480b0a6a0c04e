"""What Ollama's two ways to ask have in common: options, format, thinking.

Rule: every option is kept, or named as lost; whether that matters stands in a table.

Source: https://github.com/ollama/ollama/blob/main/docs/modelfile.md#valid-parameters-and-values.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import Effort, Format, Loss, Reasoning, Sampling
from copilot_asgi.wire.shallow import NOT_JSON, Fields, is_null, read_object

__all__ = ["Options", "read_format", "read_options", "read_thinking"]

_LARGEST = 2**53 - 1
# How the machine runs the model, not what it answers.
_ENGINE = frozenset(
    {"embedding_only", "f16_kv", "logits_all", "low_vram", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_keep"}
    | {"num_thread", "numa", "use_mlock", "use_mmap", "vocab_only"}
)
# Kept by OpenAI's names, which are the same, for upstreams that know them.
_EXTRA = ("presence_penalty", "frequency_penalty", "seed")


class _Given(msgspec.Struct):
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    num_predict: Annotated[int, msgspec.Meta(le=_LARGEST)] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None


_decoder = msgspec.json.Decoder(_Given)
_thinking_decoder = msgspec.json.Decoder(bool | str)
_SERVED = frozenset(_Given.__struct_fields__)
_FORMATS = ("", "json")
_EFFORTS: Mapping[str, Effort] = MappingProxyType({effort.value: effort for effort in Effort})


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say; the fields are those of a conversation."""

    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    extra: dict[str, bytes] = {}
    losses: tuple[Loss, ...] = ()


def read_options(text: msgspec.Raw) -> Options:
    """The options. Raises ``BadRequest`` for what cannot be read."""
    try:
        given = _decoder.decode(text)
        fields = {name: value for name, value in read_object(text).items() if not is_null(value)}
    except NOT_JSON:
        raise _unreadable("options") from None
    limit = given.num_predict
    return Options(
        max_tokens=limit if limit is not None and limit > 0 else None,  # Ollama writes "no limit" as -1 or -2
        sampling=Sampling(
            temperature=given.temperature,
            top_p=given.top_p,
            stop=(given.stop,) if isinstance(given.stop, str) else tuple(given.stop or ()),
        ),
        extra={name: bytes(fields[name]) for name in _EXTRA if name in fields},
        losses=tuple(_losses(fields)),
    )


def read_format(text: msgspec.Raw) -> Format | None:
    """Any JSON, or JSON of a schema. Raises ``BadRequest`` for what is neither."""
    try:
        wanted = msgspec.json.decode(text)
    except NOT_JSON:
        raise _unreadable("format") from None
    if isinstance(wanted, dict):
        return Format(schema=bytes(text))
    if wanted not in _FORMATS:
        raise _unreadable("format")
    return Format() if wanted else None


def read_thinking(text: msgspec.Raw) -> Reasoning:
    """Whether to think, or how hard. Raises ``BadRequest`` for a level that there is not."""
    try:
        wanted = _thinking_decoder.decode(text)
    except NOT_JSON:
        raise _unreadable("think") from None
    if isinstance(wanted, bool):
        return Reasoning(adaptive=True, show=True) if wanted else Reasoning(disabled=True, show=False)
    effort = _EFFORTS.get(wanted)
    if effort is None:
        raise _unreadable("think")
    return Reasoning(effort=effort, disabled=effort is Effort.NONE, show=effort is not Effort.NONE)


def _losses(fields: Fields) -> Iterator[Loss]:
    for name in fields:
        if name not in _SERVED:
            yield Loss(f"options.{name}", matters=name not in _ENGINE)


def _unreadable(name: str) -> BadRequest:
    return BadRequest(f"The field '{name}' is not what the API describes.", code="invalid_value", param=name)
