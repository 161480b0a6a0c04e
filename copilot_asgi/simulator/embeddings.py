"""``/embeddings``: numbers for texts, the same for the same text.

Rule: ``input`` is a list of strings; the answer has neither ``object`` nor ``model``, and always floats.
"""

from hashlib import blake2b

from copilot_asgi.simulator.access import Object, number, strings
from copilot_asgi.simulator.answers import Answer, json_answer
from copilot_asgi.simulator.completion import count_text
from copilot_asgi.simulator.rules import Call, Rule, coded

__all__ = ["RULES", "render"]

DIMENSIONS = 1536
MAX_TOKENS = 8191


def _input(call: Call) -> str | None:
    given = call.fields.get("input")
    if not isinstance(given, list) or not given or len(strings(given)) != len(given):
        return "input: expected a non-empty array of strings"
    return None


def _count(call: Call) -> str | None:
    limit = int(number(call.model.limits.get("max_inputs"), 512))
    given = len(strings(call.fields.get("input")))
    return f"input: {given} inputs, at most {limit} are allowed" if given > limit else None


def _length(call: Call) -> str | None:
    longest = max(map(count_text, strings(call.fields.get("input"))), default=0)
    return f"input: {longest} tokens, at most {MAX_TOKENS} are allowed" if longest > MAX_TOKENS else None


def _dimensions(call: Call) -> str | None:
    asked = call.fields.get("dimensions")
    if asked is None:
        return None
    if call.model.supports.get("dimensions") is not True:
        return "dimensions: this model does not support another number of dimensions"
    fits = isinstance(asked, int) and 1 <= asked <= DIMENSIONS
    return None if fits else f"dimensions: must be from 1 to {DIMENSIONS}"


RULES: tuple[Rule[Call], ...] = (
    Rule("embeddings-input", _input, coded("invalid_request_body", param="input")),
    Rule("embeddings-count", _count, coded("invalid_request_body", param="input")),
    Rule("embeddings-length", _length, coded("invalid_request_body", param="input")),
    Rule("embeddings-dimensions", _dimensions, coded("invalid_request_body", param="dimensions")),
)


def render(call: Call) -> Answer:
    """The answer to a request that kept the rules."""
    texts = strings(call.fields.get("input"))
    size = int(number(call.fields.get("dimensions"), DIMENSIONS))
    tokens = sum(map(count_text, texts))
    body: Object = {
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(text, size)}
            for index, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_answer(body)


def _vector(text: str, size: int) -> list[float]:
    """A unit-free vector that depends on ``text`` alone."""
    numbers: list[float] = []
    block = 0
    while len(numbers) < size:
        digest = blake2b(text.encode(), salt=block.to_bytes(8, "big")).digest()
        numbers += [(byte - 127.5) / 1280 for byte in digest]
        block += 1
    return numbers[:size]
