"""What every model endpoint refuses: too much text, pictures the model cannot see, another family's endpoint.

Rule: the limits quoted are the catalog's.
"""

import re

from copilot_asgi.simulator.access import Object, number, object_of
from copilot_asgi.simulator.answers import Answer, text_answer
from copilot_asgi.simulator.completion import count_prompt
from copilot_asgi.simulator.rules import Call, Rule, anthropic_error, coded

__all__ = ["IMAGE_RULES", "INITIATOR", "LENGTH", "PROMPT_LENGTH", "VISION", "VISION_REQUIRED", "image_sizes"]

_DATA = re.compile(rb'(?:base64,|"data"\s*:\s*")([A-Za-z0-9+/=\\]{64,})')


def image_sizes(body: bytes) -> list[int]:
    """Bytes of each base64 payload in a request body."""
    return [len(match[1]) * 3 // 4 for match in _DATA.finditer(body)]


def _vision(call: Call) -> Object:
    return object_of(call.model.limits.get("vision"))


def _no_vision_header(call: Call) -> str | None:
    if not call.prompt.all_images or call.request.header("copilot-vision-request") == "true":
        return None
    return "missing required Copilot-Vision-Request header for vision requests"


def _blind_model(call: Call) -> str | None:
    blind = call.prompt.all_images and call.model.supports.get("vision") is not True
    return f"model {call.model.id} does not support image input" if blind else None


def _large_image(call: Call) -> str | None:
    limit = number(_vision(call).get("max_prompt_image_size"))
    if not call.prompt.all_images or not limit:
        return None
    too_large = [size for size in image_sizes(call.request.body) if size > limit]
    return "Request Entity Too Large" if too_large else None


def _length(call: Call) -> str | None:
    count, limit = count_prompt(call.prompt), int(number(call.model.limits.get("max_prompt_tokens")))
    return f"prompt token count of {count} exceeds the limit of {limit}" if limit and count > limit else None


def _anthropic_length(call: Call) -> str | None:
    count, limit = count_prompt(call.prompt), int(number(call.model.limits.get("max_prompt_tokens")))
    return f"prompt is too long: {count} tokens > {limit} maximum" if limit and count > limit else None


def _overbilled(call: Call) -> str | None:
    wrong = call.request.header("x-initiator") == "user" and not call.prompt.ends_with_person
    return "X-Initiator is user, but no person has the last word" if wrong else None


def _too_large(message: str) -> Answer:
    return text_answer(413, message + "\n")


VISION_REQUIRED: Rule[Call] = Rule("vision-header", _no_vision_header, coded("invalid_request_body"))
VISION: Rule[Call] = Rule("vision-header", _no_vision_header)
LENGTH: Rule[Call] = Rule("prompt-length", _length, coded("model_max_prompt_tokens_exceeded"))
PROMPT_LENGTH: Rule[Call] = Rule("prompt-length", _anthropic_length, anthropic_error)
INITIATOR: Rule[Call] = Rule("initiator-overbills", _overbilled)
IMAGE_RULES: tuple[Rule[Call], ...] = (
    Rule("vision-model", _blind_model, coded("invalid_request_body")),
    Rule("image-size", _large_image, _too_large),
)
