"""What decides about requests beside the way to Copilot: who calls, who approves, what is counted and kept.

One object, because the stages and the routes for operators look at the same things. Making one opens and reads nothing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, Unpack

from copilot_asgi.approvals import Approver
from copilot_asgi.approvals.queue import ApprovalQueue
from copilot_asgi.approvals.rules import AllowRules
from copilot_asgi.audit import AuditSink
from copilot_asgi.callers.keys import authenticator_for
from copilot_asgi.circuits import Circuits
from copilot_asgi.config import ApprovalKind, Settings
from copilot_asgi.exchange import Arrival, Caller, Exchange, Part, Request
from copilot_asgi.hooks import Hook
from copilot_asgi.ledger import Ledger
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.limiter import Limiter, MemoryLimiter
from copilot_asgi.stores import Store
from copilot_asgi.upstream.client import Upstream, data_dir

__all__ = ["Controls", "Hooks", "ledger_path"]


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
        settings = upstream.settings
        self.authenticate = hooks.get("authenticate") or authenticator_for(settings, upstream.store)
        asks = hooks.get("approve") or _approver(settings)
        self.approvals = asks if isinstance(asks, ApprovalQueue) else None
        self.approve = None if asks is None else _with_rules(settings, asks)
        self.transform_request = hooks.get("transform_request")
        self.transform_response = hooks.get("transform_response")
        self.limiter: Limiter = hooks.get("limiter") or MemoryLimiter()
        self.circuits = Circuits()
        self.ledger: Ledger = hooks.get("ledger") or SqliteLedger(ledger_path(settings))
        self.audit: AuditSink | None = hooks.get("audit") or _audit(settings)
        self.cache: Store | None = hooks.get("cache") or _cache(settings)


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
