"""What an answer costs: tokens and the catalog's prices become credits, in whole billionths. Pure.

Rule: money is integers. What upstream says it charged beats what we compute; what we compute says so. Source: one AI
credit is 10^9 nano-AIU and one US cent (GitHub's ``copilot_usage`` extension).
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from copilot_asgi.translate.camel import camel
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.prices import NANO
from copilot_asgi.wire.shallow import NOT_JSON, Fields, read_object
from copilot_asgi.wire.usage import MOST_TOKENS, Tokens

if TYPE_CHECKING:
    from copilot_asgi.wire.models import Model

__all__ = [
    "NANO",
    "OutputAsked",
    "PricedBy",
    "Usage",
    "estimate",
    "estimate_broken",
    "estimate_prompt",
    "output_asked",
    "price",
]

USUAL_OUTPUT = 4096
"""Tokens that an answer is taken to have when the request names no limit."""

STREAM_BYTES_PER_TOKEN = 40
"""How much of an event stream one token takes, at the least that occurs: most of it is wrapping."""

MOST_ANSWERS = 128
"""Answers to one request; no vendor gives more."""

# By the names that any dialect has for them, in camelCase: protobuf takes those and others.
_LIMITS = frozenset({"maxTokens", "maxCompletionTokens", "maxOutputTokens", "numPredict"})
_COUNTS = frozenset({"n", "candidateCount"})
_SECTIONS = frozenset({"generationConfig", "options"})
_WORDS = _LIMITS | _COUNTS | _SECTIONS
_INITIALS = frozenset({"_", *(word[0] for word in _WORDS)})
# Where a dialect looks for the limit (nowhere is the top level) and under which names: no other bounds an answer.
_HEEDED: Mapping[Dialect, tuple[str, frozenset[str]]] = MappingProxyType(
    {
        Dialect.CHAT: ("", frozenset({"max_tokens", "max_completion_tokens"})),
        Dialect.MESSAGES: ("", frozenset({"max_tokens"})),
        Dialect.RESPONSES: ("", frozenset({"max_output_tokens"})),
        Dialect.EMBEDDINGS: ("", frozenset()),
        Dialect.GEMINI: ("generationConfig", frozenset({"maxOutputTokens", "max_output_tokens"})),
        Dialect.OLLAMA: ("options", frozenset({"num_predict"})),
    }
)

_number_decoder = msgspec.json.Decoder(float)


class PricedBy(Enum):
    """Where a price comes from: upstream named it, the catalog's prices gave it, or it is only an estimate."""

    UPSTREAM = "upstream"
    CATALOG = "catalog"
    ESTIMATE = "estimate"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer and what they cost. The prompt is ``fresh + cache_read + cache_write``.

    ``nano_credits`` is billionths of an AI credit, ``nano_premium`` billionths of a premium request.
    """

    fresh: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    nano_credits: int = 0
    nano_premium: int = 0
    priced_by: PricedBy = PricedBy.CATALOG

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt, cached or not."""
        return self.fresh + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        """Tokens of prompt and answer together."""
        return self.prompt + self.output


class OutputAsked(msgspec.Struct, frozen=True, kw_only=True):
    """How much a request lets come out: so many ``answers`` of at most ``limit`` tokens each."""

    limit: int = USUAL_OUTPUT
    answers: int = 1


def price(tokens: Tokens, model: "Model", *, by_user: bool) -> Usage:
    """What an answer cost that used ``tokens``; only a turn of the user's own costs premium requests."""
    if tokens.nano_credits is not None:
        return _usage(tokens, tokens.nano_credits, model, PricedBy.UPSTREAM, by_user=by_user)
    return _usage(tokens, _listed(tokens, model), model, PricedBy.CATALOG, by_user=by_user)


def estimate(body_bytes: int, asked: OutputAsked, model: "Model") -> Usage:
    """What a request of so many bytes may cost at the most that is likely.

    That is with nothing cached, all output used, and for a turn of the user's own.
    """
    tokens = Tokens(fresh=_prompt(body_bytes, model), output=_output(asked, model))
    return _estimated(tokens, model, by_user=True)


def estimate_prompt(body_bytes: int, model: "Model", *, by_user: bool) -> Usage:
    """What a request of so many bytes cost that upstream may have read, and of whose answer nothing came."""
    return _estimated(Tokens(fresh=_prompt(body_bytes, model)), model, by_user=by_user)


def estimate_broken(
    tokens: Tokens | None,
    model: "Model",
    *,
    asked: OutputAsked,
    body_bytes: int,
    answer_bytes: int,
    stream: bool,
    by_user: bool,
) -> Usage:
    """What an answer cost that ended, after so many bytes, before upstream told; ``tokens`` is what it told until then.

    The bytes of a stream count little, for most of them are wrapping. What a model thinks need not be among them: one
    that reasons is taken to have used at least the usual output, or all that was ``asked`` where that is less. Agents
    ask for the largest answer there is and are stopped often, so the limit itself would be far off.
    """
    written = -(-answer_bytes // STREAM_BYTES_PER_TOKEN) if stream else _by_bytes(answer_bytes)
    if _reasons(model):
        written = max(written, min(_output(asked, model), USUAL_OUTPUT * asked.answers))
    known = Tokens(fresh=_prompt(body_bytes, model)) if tokens is None else tokens
    guessed = msgspec.structs.replace(known, output=max(known.output, written))
    return _estimated(guessed, model, by_user=by_user)


def output_asked(fields: Fields, dialect: Dialect) -> OutputAsked:
    """The most that a request's ``fields`` let come out, whichever of its words are heeded: none lowers another.

    A limit that is no whole number above zero (null, Ollama's -1), or that this dialect does not look for, sets no
    bound; without a bound the usual output is the least.
    """
    asked = _words(fields)
    places = [("", fields)]
    places += [(word, _object(value)) for word, value in asked if word in _SECTIONS]
    for _, given in places[1:]:
        asked += _words(given)
    limits = [_counted(value) or USUAL_OUTPUT for word, value in asked if word in _LIMITS]
    section, names = _HEEDED[dialect]
    heeded = [given for place, given in places if place == section]
    if not heeded or any(map(names.isdisjoint, heeded)):
        limits.append(USUAL_OUTPUT)
    answers = [1, *(_counted(value) for word, value in asked if word in _COUNTS)]
    return OutputAsked(limit=min(max(limits), MOST_TOKENS), answers=min(max(answers), MOST_ANSWERS))


def _estimated(tokens: Tokens, model: "Model", *, by_user: bool) -> Usage:
    return _usage(tokens, _listed(tokens, model), model, PricedBy.ESTIMATE, by_user=by_user)


def _listed(tokens: Tokens, model: "Model") -> int:
    """What tokens cost as the catalog lists them; nothing where it does not."""
    prices = model.billing.prices if model.billing is not None else None
    return 0 if prices is None else prices.nano(tokens)


def _usage(tokens: Tokens, nano: int, model: "Model", priced_by: PricedBy, *, by_user: bool) -> Usage:
    return Usage(
        fresh=tokens.fresh,
        cache_read=tokens.cache_read,
        cache_write=tokens.cache_write,
        output=tokens.output,
        nano_credits=nano,
        nano_premium=model.billing.nano_premium if by_user and model.billing is not None else 0,
        priced_by=priced_by,
    )


def _prompt(body_bytes: int, model: "Model") -> int:
    """Images weigh far less in tokens than in bytes; no prompt is larger than the model's window."""
    window = model.limits.max_context_window_tokens
    return _by_bytes(body_bytes) if window is None or window <= 0 else min(_by_bytes(body_bytes), window)


def _by_bytes(size: int) -> int:
    """3.8 bytes a token, rounded up."""
    return -(-size * 5 // 19)


def _output(asked: OutputAsked, model: "Model") -> int:
    """The model bounds each answer, not all of them together."""
    if model.capabilities is not None and model.capabilities.type == "embeddings":
        return 0
    most = model.limits.max_output_tokens
    each = asked.limit if most is None else min(asked.limit, max(most, 0))
    return min(each * asked.answers, MOST_TOKENS)


def _reasons(model: "Model") -> bool:
    able = model.supports
    return bool(able.efforts or able.thinking or able.adaptive_thinking or able.max_thinking_budget)


def _words(fields: Fields) -> list[tuple[str, msgspec.Raw]]:
    """The values that say how much may come out, by the name in camelCase.

    Most names are told apart without being rewritten, which takes half a microsecond.
    """
    return [
        (word, value)
        for name, value in fields.items()
        if (word := camel(name) if "_" in name and name[0] in _INITIALS else name) in _WORDS
    ]


def _counted(value: msgspec.Raw) -> int:
    """A whole number, also such as ``2.0``; zero stands for whatever else is there."""
    try:
        number = _number_decoder.decode(value)
    except NOT_JSON:
        return 0
    return int(number) if number > 0 and number.is_integer() else 0


def _object(value: msgspec.Raw) -> Mapping[str, msgspec.Raw]:
    try:
        return read_object(value)
    except NOT_JSON:
        return {}
