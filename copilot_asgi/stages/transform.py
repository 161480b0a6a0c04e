"""Let functions of the user's change requests and answers, in the dialect of the client.

Rule: a function that fails never makes a broken answer look whole. Before the head it is a proper error, after it the
stream ends as interrupted. The log has the traceback, without secrets; the client is told where to look.
"""

import inspect
import logging
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from traceback import format_exception

import msgspec

from copilot_asgi.errors import CopilotASGIError, StreamInterrupted
from copilot_asgi.exchange import Exchange, Handler, Head, Part, Request, Send, header
from copilot_asgi.hooks import Hook
from copilot_asgi.secret import redact
from copilot_asgi.wire.dialect import Dialect
from copilot_asgi.wire.edits import Edit, Edits, Untouched, edits_for

__all__ = ["Transform"]

logger = logging.getLogger(__name__)

Respond = Callable[[Exchange, Part], Part]

# Dialects in which the body does not decide whether the answer is streamed, or not by OpenAI's rule.
_STREAM_SAID_ELSEWHERE = frozenset({Dialect.GEMINI, Dialect.OLLAMA})


class Transform:
    """Change what some exchanges ask and what they get; the others go straight through.

    ``request`` gets the client's request and returns the one to serve, in the same dialect and streamed or not as
    before. ``response`` gets the head and every piece of body on its way out, and returns a part of the same kind.
    ``event`` gets each whole event and returns another, the same, or ``None`` for none; what is not an event stream is
    shown as ``wire.edits`` says, so that a whole JSON answer is one event. Errors are not shown: they are raised.

    All three run on the event loop and should be quick; ``request`` may be async. What they raise of ours, such as
    ``BadRequest``, is the client's answer. ``dialects`` and ``models`` (patterns of names as asked for, such as
    ``gpt-*``) say which exchanges are meant, all without any.
    """

    def __init__(
        self,
        *,
        request: Hook[[Request], Request] | None = None,
        response: Respond | None = None,
        event: Edit | None = None,
        dialects: Collection[Dialect] = (),
        models: Collection[str] = (),
    ) -> None:
        self._request = request
        self._response = response
        self._event = event
        self._dialects = frozenset(dialects)
        self._models = tuple(models)

    async def __call__(self, exchange: Exchange, send: Send, call_next: Handler) -> None:
        """Raises ``CopilotASGIError`` or ``StreamInterrupted`` when a function fails."""
        if not self._is_meant(exchange.request):
            return await call_next(exchange, send)
        if self._request is not None:
            exchange.request = await _changed(self._request, exchange)
        if self._response is None and self._event is None:
            return await call_next(exchange, send)
        answer = _Answer(exchange, send, self._response, self._event)
        await call_next(exchange, answer)
        return await answer.finish()

    def _is_meant(self, request: Request) -> bool:
        if self._dialects and request.dialect not in self._dialects:
            return False
        return not self._models or any(fnmatchcase(request.model, pattern) for pattern in self._models)


class _Answer:
    """A ``Send`` that shows what passes to the functions. The head waits for the first piece that comes out well."""

    def __init__(self, exchange: Exchange, send: Send, respond: Respond | None, edit: Edit | None) -> None:
        self._exchange = exchange
        self._send = send
        self._respond = respond
        self._edit = edit
        self._edits: Edits = Untouched()
        self._waiting: list[Part] = []
        self._begun = False

    async def __call__(self, part: Part) -> None:
        if isinstance(part, Head):
            self._begin(part)
            return
        with self._watched():
            piece = self._edits.feed(part)
        if piece:
            await self._pass(piece)

    async def finish(self) -> None:
        """The answer is complete: send what was kept back."""
        with self._watched():
            piece = self._edits.finish()
        await self._pass(piece)

    def _begin(self, head: Head) -> None:
        if self._edit is not None:
            self._edits = edits_for(header(head.headers, b"content-type") or b"", self._edit)
        # The length may be another one now.
        headers = tuple(pair for pair in head.headers if pair[0] != b"content-length")
        with self._watched():
            self._waiting.append(self._responded(Head(head.status, headers)))

    async def _pass(self, piece: bytes) -> None:
        parts, self._waiting = self._waiting, []
        if piece:
            with self._watched():
                parts.append(self._responded(piece))
        for part in parts:
            self._begun = True
            await self._send(part)

    def _responded(self, part: Part) -> Part:
        if self._respond is None:
            return part
        changed = self._respond(self._exchange, part)
        if isinstance(changed, Head) is not isinstance(part, Head) or not isinstance(changed, Head | bytes):
            raise TypeError(f"A {type(part).__name__} was expected from a response hook, not {type(changed).__name__}.")
        return changed

    @contextmanager
    def _watched(self) -> Generator[None]:
        with _explained(self._exchange, begun=self._begun):
            yield


async def _changed(hook: Hook[[Request], Request], exchange: Exchange) -> Request:
    before = exchange.request
    with _explained(exchange, begun=False):
        result = hook(before)
        after = await result if inspect.isawaitable(result) else result
    if not isinstance(after, Request):
        raise _failure(f"A transform must return a Request, not {type(after).__name__}.")
    if (after.dialect, after.form) != (before.dialect, before.form):
        raise _failure("A transform must not change the dialect of a request.")
    if before.dialect in _STREAM_SAID_ELSEWHERE:
        return msgspec.structs.replace(after, stream=before.stream)
    if after.stream is not before.stream:
        raise _failure("A transform must not change whether an answer is streamed: the client expects what it asked.")
    return after


@contextmanager
def _explained(exchange: Exchange, *, begun: bool) -> Generator[None]:
    """Log what a function raised, and raise an error for the client instead; one of ours goes on as it is."""
    try:
        yield
    except CopilotASGIError:
        raise
    except Exception as error:  # noqa: BLE001 - another error is raised for it, and this one logged
        # Not logger.exception: what a traceback quotes is redacted first.
        text = redact("".join(format_exception(error)))
        logger.error("%s: a transform failed\n%s", exchange.id, text)  # noqa: TRY400
        message = f"A transform of this server failed. The log has it under {exchange.id}."
        raise (StreamInterrupted(message) if begun else _failure(message)) from None


def _failure(message: str) -> CopilotASGIError:
    error = CopilotASGIError(message)
    error.code = "transform_failed"
    return error
