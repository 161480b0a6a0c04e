"""The ``generationConfig`` of a Gemini request.

Rule: every field is kept, named as lost, or refused; which of the three stands in a table.

Source: https://ai.google.dev/api/generate-content#generationconfig.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.camel import present, read_camel
from copilot_asgi.translate.conversation import Effort, Format, Loss, Reasoning, Sampling
from copilot_asgi.translate.gemini_schema import json_schema
from copilot_asgi.wire.shallow import NOT_JSON, NULL, Fields, is_null, read_object

__all__ = ["Config", "read_config"]

_PARAM = "generationConfig"
_LARGEST = 2**53 - 1
_Count = Annotated[int, msgspec.Meta(ge=1, le=_LARGEST)]

_REFUSED = frozenset({"continuationToken", "imageConfig", "speechConfig"})
# Whether an answer without the field may be another one; of fields that are not here nobody knows.
_LOST: Mapping[str, bool] = MappingProxyType(
    {
        "audioTimestamp": False,
        "audioTranscriptionConfig": False,
        "enableAffectiveDialog": False,
        "enableEnhancedCivicAnswers": False,
        "logprobs": True,
        "mediaResolution": False,
        "modelConfig": False,
        "modelSelectionConfig": False,
        "responseLogprobs": True,
        "routingConfig": False,
        "topK": True,
        "translationConfig": False,
    }
)
# Values that say what would be the case anyway.
_IDLE = frozenset({b"0", b"{}", b"[]", b"false", b'""'})
_EFFORTS: Mapping[str, Effort | None] = MappingProxyType(
    {
        "": None,
        "THINKING_LEVEL_UNSPECIFIED": None,
        **{effort.name: effort for effort in Effort if effort not in {Effort.NONE, Effort.MAX}},
    }
)
_TEXT_TYPES = frozenset({"", "text/plain"})
_JSON_TYPE = "application/json"
_MODALITIES = frozenset({"TEXT", "MODALITY_UNSPECIFIED"})
# Kept by OpenAI's names, for upstreams that know them.
_EXTRA: Mapping[str, str] = MappingProxyType(
    {"presencePenalty": "presence_penalty", "frequencyPenalty": "frequency_penalty", "seed": "seed"}
)


class _Given(msgspec.Struct, rename="camel"):
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop_sequences: list[str] | None = None
    max_output_tokens: _Count | None = None
    candidate_count: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    response_mime_type: str | None = None
    response_schema: msgspec.Raw = NULL
    response_json_schema: msgspec.Raw = NULL
    thinking_config: msgspec.Raw = NULL
    response_modalities: list[str] | None = None


class _Thinking(msgspec.Struct, rename="camel"):
    include_thoughts: bool | None = None
    thinking_budget: Annotated[int, msgspec.Meta(ge=-1, le=_LARGEST)] | None = None
    thinking_level: str | None = None


_decoder = msgspec.json.Decoder(_Given)
_thinking_decoder = msgspec.json.Decoder(_Thinking)
_SERVED = frozenset(_Given.__struct_encode_fields__)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says; the fields are those of a conversation."""

    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    format: Format | None = None
    reasoning: Reasoning | None = None
    extra: dict[str, bytes] = {}
    losses: tuple[Loss, ...] = ()


def read_config(text: msgspec.Raw) -> Config:
    """The configuration. Raises ``BadRequest`` for what cannot be read, or what only Google could serve."""
    try:
        fields = present(read_object(text))
        given = _decoder.decode(msgspec.json.encode(fields))
        _refuse_unservable(fields, given)
        return Config(
            max_tokens=given.max_output_tokens,
            sampling=Sampling(temperature=given.temperature, top_p=given.top_p, stop=tuple(given.stop_sequences or ())),
            format=_format(given),
            reasoning=_reasoning(given.thinking_config),
            extra={name: bytes(fields[key]) for key, name in _EXTRA.items() if key in fields},
            losses=tuple(_losses(fields, given)),
        )
    except NOT_JSON:
        raise BadRequest(
            "The generation configuration is not what the API describes.", code="invalid_value", param=_PARAM
        ) from None


def _refuse_unservable(fields: Fields, given: _Given) -> None:
    if given.candidate_count not in {None, 0, 1}:
        raise _unservable("This model gives one answer only; leave it out.", "candidateCount")
    if {modality.upper() for modality in given.response_modalities or ()} - _MODALITIES:
        raise _unservable("This model answers in text only.", "responseModalities")
    for name in sorted(_REFUSED & fields.keys()):
        raise _unservable("Only Google's own models know this field; leave it out.", name)


def _unservable(message: str, name: str) -> BadRequest:
    return BadRequest(message, code="unsupported_value", param=f"{_PARAM}.{name}")


def _format(given: _Given) -> Format | None:
    schema = b"" if is_null(given.response_schema) else json_schema(bytes(given.response_schema))
    if not is_null(given.response_json_schema):
        msgspec.json.decode(given.response_json_schema)
        schema = bytes(given.response_json_schema)
    media_type = given.response_mime_type or (_JSON_TYPE if schema else "")
    return Format(schema=schema) if media_type == _JSON_TYPE else None


def _reasoning(text: msgspec.Raw) -> Reasoning | None:
    """No level and a budget of -1 leave it to the model; who wants to see thoughts wants some to be there."""
    if is_null(text):
        return None
    given = read_camel(_thinking_decoder, text)
    word = (given.thinking_level or "").upper()
    if word not in _EFFORTS:
        raise _unservable("The thinking level is none of the API's.", "thinkingConfig")
    effort, budget = _EFFORTS[word], given.thinking_budget
    is_free = effort is None and (budget == -1 or (budget is None and bool(given.include_thoughts)))
    return Reasoning(
        effort=effort,
        budget=budget if budget and budget > 0 else None,
        adaptive=is_free,
        disabled=effort is None and budget == 0,
        show=given.include_thoughts,
    )


def _losses(fields: Fields, given: _Given) -> Iterator[Loss]:
    for name, value in fields.items():
        if name not in _SERVED and bytes(value) not in _IDLE:
            yield Loss(f"{_PARAM}.{name}", matters=_LOST.get(name, True))
    if (given.response_mime_type or "") not in _TEXT_TYPES | {_JSON_TYPE}:
        yield Loss(f"{_PARAM}.responseMimeType", matters=True)
