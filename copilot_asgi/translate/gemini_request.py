"""Gemini requests, from clients only: a ``GenerateContentRequest`` as a neutral conversation.

Rule: every field is kept, named as lost, or refused. The model stands in the path of such a request; whoever took it
from there puts it among the fields. Keys may be in camelCase or in snake_case.

Source: https://ai.google.dev/api/generate-content.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.camel import present
from copilot_asgi.translate.conversation import Conversation, Loss
from copilot_asgi.translate.gemini_config import Config, read_config
from copilot_asgi.translate.gemini_contents import read_contents, read_instruction
from copilot_asgi.translate.gemini_tools import read_tools
from copilot_asgi.wire.shallow import NOT_JSON, Fields, read_object

__all__ = ["parse_count_request", "parse_request", "plain_model"]

_SERVED = frozenset({"contents", "generationConfig", "model", "systemInstruction", "toolConfig", "tools"})
_REFUSED: Mapping[str, str] = MappingProxyType(
    {"cachedContent": "Contents that Google keeps cannot be read here; send them again."}
)
# Whether an answer without the field may be another one; of fields that are not here nobody knows.
_LOST: Mapping[str, bool] = MappingProxyType(
    {
        "automaticFunctionCalling": False,
        "labels": False,
        "modelArmorConfig": False,
        "safetySettings": False,
        "serviceTier": False,
        "store": False,
    }
)
_WRAPPED = "generateContentRequest"

_name_decoder = msgspec.json.Decoder(str)


def plain_model(name: str) -> str:
    """The id of a model by its resource name."""
    return name.removeprefix("models/")


def parse_request(fields: Fields, *, stream: bool) -> Conversation:
    """The conversation that a client asks to go on with.

    Raises ``BadRequest`` naming the field that cannot be read, or that nothing but Google's own servers could serve.
    """
    given = present(fields)
    for name, message in _REFUSED.items():
        if name in given:
            raise BadRequest(message, code="unsupported_value", param=name)
    if "contents" not in given:
        raise BadRequest("The field 'contents' is missing.", code="missing_field", param="contents")
    history = read_contents(given["contents"])
    toolbox = read_tools(given)
    config = read_config(given["generationConfig"]) if "generationConfig" in given else Config()
    unknown = (Loss(name, matters=_LOST.get(name, True)) for name in given if name not in _SERVED)
    return Conversation(
        model=_model(given),
        stream=stream,
        system=read_instruction(given["systemInstruction"]) if "systemInstruction" in given else (),
        turns=history.turns,
        tools=toolbox.tools,
        tool_choice=toolbox.choice,
        max_tokens=config.max_tokens,
        sampling=config.sampling,
        format=config.format,
        reasoning=config.reasoning,
        extra=config.extra,
        losses=(*history.losses, *toolbox.losses, *config.losses, *unknown),
    )


def parse_count_request(fields: Fields) -> Conversation:
    """The conversation whose tokens are asked for: that of a whole request, or contents alone.

    Raises ``BadRequest`` as ``parse_request`` does.
    """
    given = present(fields)
    if _WRAPPED not in given:
        return parse_request(given, stream=False)
    try:
        wrapped = present(read_object(given[_WRAPPED]))
    except NOT_JSON:
        raise BadRequest(f"The field '{_WRAPPED}' must be an object.", code="invalid_type", param=_WRAPPED) from None
    return parse_request({**wrapped, **{name: given[name] for name in given.keys() & {"model"}}}, stream=False)


def _model(fields: Fields) -> str:
    try:
        return plain_model(_name_decoder.decode(fields.get("model", b'""')))
    except NOT_JSON:
        raise BadRequest("The field 'model' must be a string.", code="invalid_type", param="model") from None
