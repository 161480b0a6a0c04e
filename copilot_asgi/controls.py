"""What decides about requests beside the way to Copilot: who calls, who approves, what is counted and kept.

One object, because the stages and the routes for operators look at the same things. Making one opens and reads nothing.
"""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict, Unpack

from copilot_asgi.approvals import Approver
from copilot_asgi.approvals.queue import ApprovalQueue
from copilot_asgi.approvals.rules import AllowRules
from copilot_asgi.audit import AuditSink
from copilot_asgi.callers.keys import authenticator_for
from copilot_asgi.circuits import Circuits
from copilot_asgi.config import ApprovalKind, Settings
from copilot_asgi.errors import ConfigError
from copilot_asgi.exchange import Arrival, Caller, Exchange, Part, Request
from copilot_asgi.hooks import Hook
from copilot_asgi.ledger import Ledger
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.limiter import Limiter, MemoryLimiter
from copilot_asgi.stores import Store
from copilot_asgi.upstream.client import Upstream, data_dir

__all__ = ["Controls", "Hooks", "ledger_path"]

_FUNCTIONS = frozenset({"approve", "authenticate", "transform_request", "transform_response"})


class Hooks(TypedDict, total=False):
    """What a site may bring of its own; what it leaves out is as the settings say.

    ``authenticate`` finds the caller, ``approve`` is asked before anything is sent, ``transform_request`` and
    ``transform_response`` change what passes: plain or async functions (the last one plain). ``limiter``, ``ledger``,
    ``audit`` and ``cache`` keep what the stages of these names count, book, log and remember.
    """

    authenticate: Hook[[Arrival], Caller]
    approve: Approver
    transform_request: Hook[[Request], Request]
    transform_response: Callable[[Exchange, Part], Part]
    limiter: Limiter
    ledger: Ledger
    audit: AuditSink
    cache: Store


class Controls:
    """Everything as ``settings`` of ``upstream`` say, unless ``hooks`` bring it. Raises ``ConfigError``.

    ``approvals`` is the queue that the routes show, ``None`` where nobody is asked through them. ``audit`` and
    ``cache`` are ``None`` where nothing is kept.
    """

    def __init__(self, upstream: Upstream, **hooks: Unpack[Hooks]) -> None:
        _check(hooks)
        settings = upstream.settings
        # Not by their truth: a hook may be an object that is false, such as an empty collection.
        authenticate, approve = hooks.get("authenticate"), hooks.get("approve")
        limiter, ledger, audit, cache = (
            hooks.get("limiter"),
            hooks.get("ledger"),
            hooks.get("audit"),
            hooks.get("cache"),
        )
        asks = _approver(settings) if approve is None else approve
        self.authenticate: Hook[[Arrival], Caller] = (
            authenticator_for(settings, upstream.store) if authenticate is None else authenticate
        )
        self.approve = None if asks is None else _with_rules(settings, asks)
        self.approvals = asks if isinstance(asks, ApprovalQueue) else None
        self.transform_request = hooks.get("transform_request")
        self.transform_response = hooks.get("transform_response")
        self.limiter: Limiter = MemoryLimiter() if limiter is None else limiter
        self.ledger: Ledger = SqliteLedger(ledger_path(settings)) if ledger is None else ledger
        self.audit = _audit(settings) if audit is None else audit
        self.cache = _cache(settings) if cache is None else cache
        self.circuits = Circuits()
        self._limited = bool(settings.rate_limit)

    def may_count(self, exchange: Exchange) -> bool:
        """Whether upstream may be asked to count an exchange's tokens.

        Not where somebody has to approve what is sent, where requests are limited, or where upstream refuses.
        """
        if self.approve is not None or self._limited or (exchange.caller is not None and exchange.caller.rate_limits):
            return False
        account, route = exchange.account, exchange.route
        return account is None or route is None or not self.circuits.concerning(account.key, route.model.id)


def _check(hooks: Mapping[str, object]) -> None:
    """Raises ``ConfigError`` for what is no hook: a protection that was misspelt must not be off without a word."""
    for name, hook in hooks.items():
        if name in Settings.__struct_fields__ and (name not in Hooks.__annotations__ or isinstance(hook, bool)):
            raise ConfigError(f"{name} is a setting. Write: CopilotApp(Settings({name}=...)).")
        if name not in Hooks.__annotations__:
            near = difflib.get_close_matches(name, Hooks.__annotations__, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(Hooks.__annotations__)}."
            raise ConfigError(f"{name}: there is no such hook. {hint}")
        if name in _FUNCTIONS and hook is not None and not callable(hook):
            raise ConfigError(f"{name}: give a function, plain or async, not {type(hook).__name__}.")


def ledger_path(settings: Settings) -> Path:
    """Where the ledger is kept."""
    return data_dir(settings) / "ledger.sqlite3"


def _approver(settings: Settings) -> Approver | None:
    match settings.approval:
        case ApprovalKind.OFF:
            return None
        case ApprovalKind.QUEUE:
            return ApprovalQueue()
        case ApprovalKind.TERMINAL:
            from copilot_asgi.approvals.terminal import TerminalApprover

            return TerminalApprover()


def _with_rules(settings: Settings, ask: Approver) -> Approver:
    models, callers = settings.approval_allow_models, settings.approval_allow_callers
    if not models and not callers and not settings.approval_above:
        return ask
    return AllowRules(ask, models=models, callers=callers, above_credits=settings.approval_above)


def _audit(settings: Settings) -> AuditSink | None:
    if settings.audit_file is None:
        return None
    from copilot_asgi.audit.file import FileSink

    path = settings.audit_file.expanduser()
    return FileSink(path, max_bytes=settings.audit_size, backups=settings.audit_backups)


def _cache(settings: Settings) -> Store | None:
    if not settings.cache:
        return None
    from copilot_asgi.stores.bounded import BoundedStore

    return BoundedStore(settings.cache_size)
