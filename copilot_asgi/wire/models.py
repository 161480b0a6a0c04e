"""The catalog: the models upstream offers, read tolerantly, and told in the two ways that clients read.

Rule: one odd entry never hides the others, and what we do not know is kept (``raw``), not lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest, MalformedResponse
from copilot_asgi.wire.dialect import UPSTREAM_PATHS, Dialect
from copilot_asgi.wire.prices import Prices, read_multiplier, read_prices
from copilot_asgi.wire.shallow import NOT_JSON, NULL

__all__ = [
    "Billing",
    "Capabilities",
    "Limits",
    "Model",
    "Policy",
    "Supports",
    "anthropic_list",
    "anthropic_model",
    "openai_list",
    "openai_model",
    "parse_catalog",
]

_DIALECT_OF: Mapping[str, Dialect] = MappingProxyType({path: dialect for dialect, path in UPSTREAM_PATHS.items()})
_DIALECTS_OF_TYPE: Mapping[str, tuple[Dialect, ...]] = MappingProxyType(
    {"chat": (Dialect.CHAT,), "embeddings": (Dialect.EMBEDDINGS,)}
)
_PAGE_LIMIT = 1000
_EFFORTS = ("low", "medium", "high", "max", "xhigh")


class Policy(msgspec.Struct, frozen=True):
    """Whether the account accepted the model's terms; without a policy there are none to accept."""

    state: str | None = None


class Billing(msgspec.Struct, frozen=True, dict=True):
    """What a turn costs, in premium requests, and what its tokens cost.

    ``token_prices`` is kept as received: their form has changed before, and no odd price may hide the model. Both
    prices are read at their first use, and once: they are asked for several times with each request.
    """

    is_premium: bool | None = None
    multiplier: float | None = None
    token_prices: msgspec.Raw = NULL

    @cached_property
    def prices(self) -> Prices | None:
        """What tokens cost; ``None`` when the catalog names no prices that can be used."""
        return read_prices(self.token_prices)

    @cached_property
    def nano_premium(self) -> int:
        """What a turn of the user's own costs, in billionths of a premium request."""
        return read_multiplier(self.multiplier)


class Limits(msgspec.Struct, frozen=True):
    """Tokens, and inputs of one embeddings request; upstream enforces them loosely."""

    max_context_window_tokens: int | None = None
    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    max_non_streaming_output_tokens: int | None = None
    max_inputs: int | None = None


class _Effort(msgspec.Struct, frozen=True):
    value: str


class _Efforts(msgspec.Struct, frozen=True):
    values: list[str | _Effort]


class Supports(msgspec.Struct, frozen=True):
    """What the model can do; ``None`` where the catalog says nothing."""

    streaming: bool | None = None
    tool_calls: bool | None = None
    parallel_tool_calls: bool | None = None
    vision: bool | None = None
    structured_outputs: bool | None = None
    thinking: bool | None = None
    adaptive_thinking: bool | None = None
    min_thinking_budget: int | None = None
    max_thinking_budget: int | None = None
    dimensions: bool | None = None
    reasoning_effort: list[str | _Effort] | _Efforts | None = None

    @property
    def efforts(self) -> tuple[str, ...]:
        """The reasoning efforts, in the order of the catalog, which writes them in three ways."""
        listed = self.reasoning_effort
        values = listed.values if isinstance(listed, _Efforts) else listed or []
        return tuple(effort if isinstance(effort, str) else effort.value for effort in values)


class Capabilities(msgspec.Struct, frozen=True):
    """Kind, family, limits and abilities of a model."""

    type: str | None = None
    family: str | None = None
    tokenizer: str | None = None
    limits: Limits | None = None
    supports: Supports | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalog; ``raw`` is its JSON as received."""

    id: str
    name: str | None = None
    vendor: str | None = None
    version: str | None = None
    preview: bool | None = None
    model_picker_enabled: bool | None = None
    policy: Policy | None = None
    billing: Billing | None = None
    supported_endpoints: tuple[str, ...] | None = None
    capabilities: Capabilities | None = None
    request_headers: dict[str, str] | None = None
    raw: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"{}"), name="(raw)")

    @property
    def family(self) -> str:
        """The model's family, which may differ from its id; empty when the catalog names none."""
        return (self.capabilities and self.capabilities.family) or ""

    @property
    def limits(self) -> Limits:
        """The limits, all unknown when the catalog gives none."""
        return (self.capabilities and self.capabilities.limits) or Limits()

    @property
    def supports(self) -> Supports:
        """The abilities, all unknown when the catalog gives none."""
        return (self.capabilities and self.capabilities.supports) or Supports()

    @property
    def is_enabled(self) -> bool:
        """Whether the account may use the model now: there is no policy, or it was accepted."""
        return self.policy is None or self.policy.state in {None, "enabled"}

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """What upstream speaks for this model; older entries leave it to the model's type."""
        if self.supported_endpoints:
            return tuple(_DIALECT_OF[path] for path in self.supported_endpoints if path in _DIALECT_OF)
        return _DIALECTS_OF_TYPE.get((self.capabilities and self.capabilities.type) or "chat", ())


class _Catalog(msgspec.Struct):
    data: list[msgspec.Raw]


_catalog_decoder = msgspec.json.Decoder(_Catalog)
_model_decoder = msgspec.json.Decoder(Model)


def parse_catalog(body: bytes) -> tuple[Model, ...]:
    """The models in the order of the catalog; of two entries with one id the first counts.

    Entries that cannot be read are skipped. Raises ``MalformedResponse`` when there is no list at all.
    """
    try:
        entries = _catalog_decoder.decode(body).data
    except NOT_JSON:
        raise MalformedResponse("GitHub Copilot sent a list of models that cannot be read.") from None
    models: dict[str, Model] = {}
    for model in _readable(entries):
        models.setdefault(model.id, model)
    return tuple(models.values())


def _readable(entries: Iterable[msgspec.Raw]) -> Iterable[Model]:
    for entry in entries:
        try:
            model = _model_decoder.decode(entry)
        except NOT_JSON:
            continue
        if model.id:
            yield msgspec.structs.replace(model, raw=entry)


def openai_list(models: Iterable[Model]) -> bytes:
    """The answer to OpenAI's ``GET models``."""
    return msgspec.json.encode({"object": "list", "data": [_openai(model) for model in models]})


def openai_model(model: Model) -> bytes:
    """The answer to OpenAI's ``GET models/{id}``."""
    return msgspec.json.encode(_openai(model))


def anthropic_list(models: Sequence[Model], *, limit: int, after_id: str | None, before_id: str | None) -> bytes:
    """One page of Anthropic's ``GET v1/models``: ``limit`` entries behind ``after_id``, or just before ``before_id``.

    Raises ``BadRequest`` for a limit that is not 1 to 1000 and for a cursor that is no model's id.
    """
    if not 1 <= limit <= _PAGE_LIMIT:
        raise BadRequest(f"The parameter 'limit' must be 1 to {_PAGE_LIMIT}.", code="invalid_value", param="limit")
    end = len(models) if before_id is None else _position(models, before_id, "before_id")
    start = 0 if after_id is None else _position(models, after_id, "after_id") + 1
    within = models[start:end]
    page = within[-limit:] if before_id is not None and after_id is None else within[:limit]
    return msgspec.json.encode(
        {
            "data": [_anthropic(model) for model in page],
            "has_more": len(within) > len(page),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


def anthropic_model(model: Model) -> bytes:
    """The answer to Anthropic's ``GET v1/models/{id}``."""
    return msgspec.json.encode(_anthropic(model))


def _position(models: Sequence[Model], cursor: str, name: str) -> int:
    for position, model in enumerate(models):
        if model.id == cursor:
            return position
    raise BadRequest(f"The parameter '{name}' is not the id of a listed model.", code="invalid_value", param=name)


def _openai(model: Model) -> dict[str, object]:
    # The catalog knows no date of creation; clients insist on a number.
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.vendor or "GitHub Copilot",
        "copilot": model.raw,
    }


def _anthropic(model: Model) -> dict[str, object]:
    # Anthropic's own word for an unknown date is the epoch.
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.name or model.id,
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": model.limits.max_prompt_tokens or model.limits.max_context_window_tokens,
        "max_tokens": model.limits.max_output_tokens,
        "capabilities": _anthropic_capabilities(model.supports),
    }


def _anthropic_capabilities(supports: Supports) -> dict[str, object]:
    adaptive = bool(supports.adaptive_thinking)
    budget = supports.max_thinking_budget is not None
    no = _supported(says=False)
    thinking = {
        "adaptive": _supported(says=adaptive),
        "between_tools": no,
        "disabled": _supported(says=True),
        "enabled": _supported(says=budget),
    }
    efforts = {name: _supported(says=name in supports.efforts) for name in _EFFORTS}
    return {
        "batch": no,
        "citations": no,
        "code_execution": no,
        "context_management": no,
        "effort": {**efforts, "supported": bool(supports.efforts)},
        "image_input": _supported(says=bool(supports.vision)),
        "pdf_input": no,
        "server_tools": {"supported": False, "code_execution": no, "web_search": no},
        "structured_outputs": _supported(says=bool(supports.structured_outputs)),
        "thinking": {"supported": adaptive or budget, "types": thinking},
    }


def _supported(*, says: bool) -> dict[str, bool]:
    return {"supported": says}
