"""The pipeline's stages in order, outermost first, each with the reason why it sits there."""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import overload

from copilot_asgi.config import RateLimitMode, Settings
from copilot_asgi.controls import Controls
from copilot_asgi.errors import ConfigError
from copilot_asgi.estimates import estimated
from copilot_asgi.exchange import Exchange, Stage
from copilot_asgi.fair_queue import FairQueue
from copilot_asgi.limits import Costs
from copilot_asgi.pricing import NANO
from copilot_asgi.retrying import RetryBudget, policy
from copilot_asgi.stages.circuit import BreakCircuit
from copilot_asgi.stages.concurrency import LimitConcurrency
from copilot_asgi.stages.identify import Identify
from copilot_asgi.stages.keep_alive import KeepAlive
from copilot_asgi.stages.lease import lease
from copilot_asgi.stages.load import answer_load_requests
from copilot_asgi.stages.meter import Meter
from copilot_asgi.stages.permitted import permit_models
from copilot_asgi.stages.rate_limit import LimitRate
from copilot_asgi.stages.retry import Retry
from copilot_asgi.stages.route import ChooseRoute
from copilot_asgi.stages.spend import Spend
from copilot_asgi.stages.translation import Translation
from copilot_asgi.upstream.client import Upstream

__all__ = ["Stack", "default"]


INDISPENSABLE = frozenset({"identify", "route", "translation", "lease"})

# What only a model's answer needs; a count costs nothing and is not a turn.
ANSWERING = frozenset(
    {
        "approval",
        "cache",
        "circuit",
        "concurrency",
        "fallback",
        "keep_alive",
        "lease",
        "load",
        "meter",
        "rate_limit",
        "retry",
        "spend",
        "translation",
    }
)


class Stack(Sequence[Stage]):
    """Stages by name, in order. A name whose stage is off has a place all the same, so that others can stand there.

    ``named`` are all places; ``controls`` are what the stages share with the app's routes.
    """

    def __init__(self, stages: Iterable[tuple[str, Stage | None]], controls: Controls) -> None:
        self.named = tuple(stages)
        self.controls = controls

    def before(self, name: str, *stages: Stage) -> "Stack":
        """A copy with ``stages`` just outside the stage called ``name``. Raises ``ConfigError``."""
        return self._with(self._index(name), stages)

    def after(self, name: str, *stages: Stage) -> "Stack":
        """A copy with ``stages`` just inside the stage called ``name``. Raises ``ConfigError``."""
        return self._with(self._index(name) + 1, stages)

    def without(self, name: str) -> "Stack":
        """A copy in which the stage called ``name`` is off. Raises ``ConfigError``, also for an indispensable one."""
        if name in INDISPENSABLE:
            raise ConfigError(f"stages: nothing can be answered without {name!r}. A plain list replaces all stages.")
        index = self._index(name)
        return Stack((*self.named[:index], (name, None), *self.named[index + 1 :]), self.controls)

    @property
    def counting(self) -> tuple[Stage, ...]:
        """Those in front of counting tokens: all but what a model's answer needs."""
        return tuple(stage for name, stage in self.named if stage is not None and name not in ANSWERING)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all places, the outermost first."""
        return tuple(name for name, _ in self.named)

    def __iter__(self) -> Iterator[Stage]:
        return (stage for _, stage in self.named if stage is not None)

    def __len__(self) -> int:
        return len(tuple(iter(self)))

    @overload
    def __getitem__(self, index: int) -> Stage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Stage]: ...
    def __getitem__(self, index: int | slice) -> Stage | Sequence[Stage]:
        return tuple(iter(self))[index]

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise ConfigError(f"stages: there is none called {name!r}. There are {', '.join(self.names)}.")
        return self.names.index(name)

    def _with(self, index: int, stages: Iterable[Stage]) -> "Stack":
        named = tuple((_name_of(stage), stage) for stage in stages)
        return Stack((*self.named[:index], *named, *self.named[index:]), self.controls)


def default(upstream: Upstream, controls: Controls | None = None) -> Stack:
    """The stages that serve a request when nobody says otherwise; what is not configured is off.

    Raises ``ConfigError``.
    """
    settings = upstream.settings
    controls = controls or Controls(upstream)
    return Stack(
        (
            ("audit", _audit(settings, controls)),  # outermost: it sees refusals too
            ("identify", Identify(controls.authenticate)),  # nothing is done for strangers
            ("transform", _transform(controls)),  # before anybody looks: what is seen is what is sent
            ("fallback", _fallback(settings)),  # around the route: another model has another one
            ("route", ChooseRoute(upstream)),  # before the rules that ask for the model; an unknown one costs nothing
            ("permitted", permit_models),  # after the route: only the chosen model counts, however it was called
            ("load", answer_load_requests),  # before the limits: there is nothing to ask upstream
            ("rate_limit", _rate_limit(settings, controls)),  # before people and money: a flood must reach neither
            ("cache", _cache(settings, controls)),  # a kept answer costs nothing and was approved when it was made
            ("spend", _spend(settings, controls)),  # before approval: nobody is asked about what cannot be paid
            ("approval", _approval(settings, controls)),  # last of what refuses: people are asked as rarely as can be
            ("concurrency", _concurrency(settings)),  # after people: who waits for one must not take a place
            ("keep_alive", KeepAlive(settings.keep_alive_interval)),  # after all that refuses: it sends the head
            ("translation", Translation(strict=settings.strict)),  # around retry: a request is prepared once
            ("retry", _retry(settings)),  # around what one try takes: another one takes it anew
            # Inside retry: every try is looked at; it holds one of the places, and queues for it without passing a
            # circuit that opened.
            ("circuit", _circuit(upstream, controls)),
            ("lease", lease),  # one lease is one try
            ("meter", _meter(settings, controls)),  # innermost: it reads upstream's own bytes
        ),
        controls,
    )


def _audit(settings: Settings, controls: Controls) -> Stage | None:
    if controls.audit is None:
        return None
    from copilot_asgi.stages.audit import Audit

    return Audit(controls.audit, prompts=settings.audit_prompts)


def _transform(controls: Controls) -> Stage | None:
    if controls.transform_request is None and controls.transform_response is None:
        return None
    from copilot_asgi.stages.transform import Transform

    return Transform(request=controls.transform_request, response=controls.transform_response)


def _fallback(settings: Settings) -> Stage | None:
    if not settings.fallbacks:
        return None
    from copilot_asgi.stages.fallback import Fallback

    return Fallback(settings.fallback_models)


def _rate_limit(settings: Settings, controls: Controls) -> Stage:
    waits = settings.rate_limit_mode is RateLimitMode.WAIT
    # Always there: a caller may have limits of its own.
    return LimitRate(
        limits=settings.rate_limits,
        by=settings.rate_limit_by,
        limiter=controls.limiter,
        queue=FairQueue(settings.rate_limit_queue, settings.rate_limit_timeout) if waits else None,
        estimate=_costs,
    )


def _cache(settings: Settings, controls: Controls) -> Stage | None:
    if controls.cache is None:
        return None
    from copilot_asgi.stages.cache import Cache

    return Cache(controls.cache, ttl=settings.cache_timeout)


def _spend(settings: Settings, controls: Controls) -> Stage:
    # Always there: a caller may have a budget of its own.
    return Spend(
        controls.ledger,
        settings.budgets,
        by=settings.budget_by,
        warn_at=settings.budget_warning,
        keep_all=settings.ledger,
    )


def _approval(settings: Settings, controls: Controls) -> Stage | None:
    if controls.approve is None:
        return None
    from copilot_asgi.stages.approval import Approval

    return Approval(
        controls.approve,
        timeout=settings.approval_timeout,
        session_timeout=settings.approval_session_timeout,
        estimate=_credits,
    )


def _concurrency(settings: Settings) -> Stage:
    # Always there: a caller may have a limit of its own.
    return LimitConcurrency(settings.max_concurrent, FairQueue(settings.rate_limit_queue, settings.rate_limit_timeout))


def _retry(settings: Settings) -> Stage:
    decide = policy(
        settings.retries,
        max_wait=settings.rate_limit_timeout,
        random=random.random,
        now=time.time,
        wait_throttled=settings.rate_limit_mode is RateLimitMode.WAIT,
    )
    return Retry(decide, RetryBudget())


def _circuit(upstream: Upstream, controls: Controls) -> Stage:
    settings = upstream.settings
    waits = settings.rate_limit_mode is RateLimitMode.WAIT
    return BreakCircuit(controls.circuits, _place, wait=waits, max_wait=settings.rate_limit_timeout)


def _place(exchange: Exchange) -> AbstractAsyncContextManager[None]:
    assert exchange.opened is not None
    return exchange.opened.http.place()


def _meter(settings: Settings, controls: Controls) -> Stage:
    return Meter(always=settings.ledger or bool(settings.budget or settings.rate_limit) or controls.audit is not None)


def _costs(exchange: Exchange) -> Costs:
    usage = estimated(exchange)
    return Costs(tokens=usage.total, credits=usage.nano_credits / NANO)


def _credits(exchange: Exchange) -> float:
    return estimated(exchange).nano_credits / NANO


def _name_of(stage: Stage) -> str:
    """The function's name, or that of the class."""
    return str(getattr(stage, "__name__", type(stage).__name__))
