"""Ask before anything is sent upstream. Default deny: only an answer that says yes, in time, lets a request through.

What is sent is what was asked about: a request that was changed while it waited is refused.
"""

import logging
import secrets
import time
from collections.abc import Callable
from traceback import format_exception

import anyio
import msgspec

from copilot_asgi.approvals import Approved, Approver, Denied, Question
from copilot_asgi.approvals.preview import one_line, preview
from copilot_asgi.approvals.remembered import Remembered
from copilot_asgi.errors import ApprovalDenied
from copilot_asgi.exchange import Caller, Exchange, Handler, Request, Send
from copilot_asgi.hooks import call_hook
from copilot_asgi.secret import redact

__all__ = ["Approval"]

logger = logging.getLogger(__name__)

_REASON_LIMIT = 200


class _Asked(msgspec.Struct, frozen=True):
    """What an answer is about. The request is a copy, as the fields of one are a dictionary, which could be changed."""

    request: Request
    caller: Caller | None
    account: object
    route: object


class Approval:
    """Put each request to ``approve`` and wait ``timeout`` seconds for the answer.

    An answer that says so holds for ``session_timeout`` seconds, for the same caller and model. ``estimate`` says what
    a request will cost, in credits, if it can. ``clock`` gives unix seconds.
    """

    def __init__(
        self,
        approve: Approver,
        *,
        timeout: float,
        session_timeout: float,
        estimate: Callable[[Exchange], float | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._approve = approve
        self._timeout = timeout
        self._estimate = estimate
        self._clock = clock
        self._remembered = Remembered(session_timeout)

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``ApprovalDenied``. When the client leaves, the question is withdrawn and nothing is sent."""
        if not self._is_remembered(exchange):
            answer = await self._answer(exchange, self._question(exchange))
            if answer.remember and exchange.caller is not None:
                self._remembered.add(exchange.caller.name, _model(exchange), self._clock())
        await call_next(exchange, send)

    def _is_remembered(self, exchange: Exchange) -> bool:
        caller = exchange.caller
        return caller is not None and self._remembered.holds(caller.name, _model(exchange), self._clock())

    def _question(self, exchange: Exchange) -> Question:
        request = exchange.request
        return Question(
            id=secrets.token_urlsafe(16),
            caller="unknown" if exchange.caller is None else exchange.caller.name,
            account=None if exchange.account is None else exchange.account.login,
            model=_model(exchange),
            dialect=exchange.dialect,
            size=len(request.body),
            preview=preview(request),
            estimated_credits=self._estimate(exchange),
            asked_at=self._clock(),
            body=request.body,
        )

    async def _answer(self, exchange: Exchange, question: Question) -> Approved:
        """The answer, if it is yes and the exchange is still what was asked about."""
        asked = _asked(exchange)
        logger.info("%s: waits for approval (%s, %s)", exchange.id, question.caller, question.model)
        try:
            answer = await self._ask(exchange, question)
            # An answer may have come although the client is gone; then nothing is sent.
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            logger.info("%s: abandoned while it waited for approval", exchange.id)
            raise
        if not isinstance(answer, Approved):
            raise _denial(answer)
        if _asked(exchange) != asked:
            logger.error("%s: the request was changed while it waited for approval, and is refused", exchange.id)
            raise _denial(Denied("it was changed while it waited"))
        return answer

    async def _ask(self, exchange: Exchange, question: Question) -> Approved | Denied:
        with anyio.move_on_after(self._timeout) as scope:
            answer = await self._call(exchange, question)
            # A hook that was told to stop and answers all the same is too late.
            if not scope.cancel_called:
                return answer
        return Denied(f"nobody answered in {self._timeout:g} seconds")

    async def _call(self, exchange: Exchange, question: Question) -> Approved | Denied:
        try:
            answer: object = await call_hook(self._approve, question)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises means no
            # Not logger.exception: what a traceback quotes is redacted first.
            logger.error("%s: the approver failed\n%s", exchange.id, redact("".join(format_exception(error))))  # noqa: TRY400
            return Denied("asking for approval failed")
        if isinstance(answer, Approved | Denied):
            return answer
        logger.error("%s: the approver returned %s, not Approved or Denied", exchange.id, type(answer).__name__)
        return Denied("asking for approval failed")


def _asked(exchange: Exchange) -> _Asked:
    request = exchange.request
    return _Asked(
        request=msgspec.structs.replace(request, fields=dict(request.fields)),
        caller=exchange.caller,
        account=exchange.account,
        route=exchange.route,
    )


def _model(exchange: Exchange) -> str:
    return exchange.request.model if exchange.route is None else exchange.route.model.id


def _denial(answer: Denied) -> ApprovalDenied:
    reason = one_line(str(answer.reason), _REASON_LIMIT) or Denied().reason
    return ApprovalDenied(f"The request was not approved: {reason.removesuffix('.')}.")
