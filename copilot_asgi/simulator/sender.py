"""Putting an answer on the wire, with the faults that befall it.

Rule: from the first moment on somebody watches for the client to leave, and when it does everything stops at once. A
stream is cut either cleanly (the response just ends) or by ``ConnectionDropped`` leaving the app, which makes a server
close the connection in the middle.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.answers import Answer
from copilot_asgi.simulator.script import Fault, Quirk

__all__ = ["ConnectionDropped", "Hang", "Sender", "Step", "apply_fault", "split_bytes"]

COMMENT = b": keep-alive\n\n"
GARBAGE = b'data: {"choices":[{"delta":{"cont\n\n'


class ConnectionDropped(Exception):
    """Raised out of the app so that the server closes the connection without finishing the response."""


class Hang(msgspec.Struct, frozen=True):
    """Say nothing more until the client leaves."""


class Drop(msgspec.Struct, frozen=True):
    """Close the connection in the middle."""


class Pause(msgspec.Struct, frozen=True):
    """Wait before the next step."""

    seconds: float


Step = bytes | Hang | Drop | Pause


def apply_fault(answer: Answer, fault: Fault, *, error_event: Callable[[Object | None], bytes]) -> Iterator[Step]:
    """The steps that send ``answer``'s body while ``fault`` befalls it; one body can only be cut or never come."""
    if answer.events is None:
        steps: Iterable[Step] = [Hang()] if fault.hang_after is not None else [answer.body]
    else:
        steps = _faulty_stream(list(answer.events), fault, error_event)
    if fault.cut_bytes is not None:  # less than content-length promised is only possible when the connection breaks
        steps = _cut_bytes(steps, fault.cut_bytes, abort=fault.abort or answer.events is None)
    return _paced(steps, max(fault.gap, answer.pause))


def _faulty_stream(events: list[bytes], fault: Fault, error_event: Callable[[Object | None], bytes]) -> Iterator[Step]:
    if fault.duplicate:
        events = [event for event in events for _ in range(2)]
    endless = repeat(COMMENT) if fault.endless_comments else iter(())
    return chain(repeat(COMMENT, fault.comments), _broken(events, fault, error_event), endless)


def _broken(events: list[bytes], fault: Fault, error_event: Callable[[Object | None], bytes]) -> Iterator[Step]:
    """``events`` up to the first thing that goes wrong, and that thing."""
    accidents: list[tuple[int, tuple[Step, ...]]] = []
    if fault.error_after is not None:
        accidents.append((_position(fault.error_after, events), (error_event(fault.error),)))
    if fault.hang_after is not None:
        accidents.append((_position(fault.hang_after, events), (Hang(),)))
    if fault.cut_after is not None:
        accidents.append((_position(fault.cut_after, events), (Drop(),) if fault.abort else ()))
    if fault.endless_comments:
        accidents.append((max(0, len(events) - 1), ()))
    end, accident = min(accidents, key=lambda item: item[0], default=(len(events), (Drop(),) if fault.abort else ()))
    for index, event in enumerate(islice(events, end)):
        if index == fault.garbage_after:
            yield GARBAGE
        yield event
    yield from accident


def _position(count: int, events: list[bytes]) -> int:
    return max(0, len(events) + count) if count < 0 else count


def _cut_bytes(steps: Iterable[Step], limit: int, *, abort: bool) -> Iterator[Step]:
    left = limit
    for step in steps:
        if not isinstance(step, bytes):
            yield step
        elif len(step) < left:
            left -= len(step)
            yield step
        else:
            yield step[:left]
            break
    if abort:
        yield Drop()


def _paced(steps: Iterable[Step], gap: float) -> Iterator[Step]:
    for index, step in enumerate(steps):
        if gap and index:
            yield Pause(gap)
        yield step


def split_bytes(events: list[bytes], quirks: frozenset[Quirk]) -> list[bytes]:
    """``events`` cut into other pieces than one event a message, as a network does."""
    if Quirk.CRLF in quirks:
        events = [event.replace(b"\n", b"\r\n") for event in events]
    if Quirk.ONE_SEGMENT in quirks:
        return [b"".join(events)]
    if Quirk.ONE_BYTE in quirks:
        return [bytes([byte]) for event in events for byte in event]
    if Quirk.SPLIT_BYTES in quirks:
        return [piece for event in events for piece in _halves(event)]
    return events


def _halves(event: bytes) -> tuple[bytes, bytes]:
    """``event`` in two, inside a multi-byte character when it has one."""
    inside = next((index for index, byte in enumerate(event) if byte & 0xC0 == 0x80), len(event) // 2)
    return event[:inside], event[inside:]


class Sender:
    """Sends answers and knows which are under way; ``disconnects`` holds the times at which clients left."""

    def __init__(self, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self.open_streams = 0
        self.disconnects: list[float] = []

    async def send_whole(self, answer: Answer, send: Any, *, head_only: bool) -> None:
        """Send an answer that is one body and that nothing befalls."""
        await send(_start(answer, length=len(answer.body)))
        await send({"type": "http.response.body", "body": b"" if head_only else answer.body, "more_body": False})

    async def play(self, answer: Answer, steps: Iterator[Step], fault: Fault, receive: Any, send: Any) -> None:
        """Send an answer step by step until it is complete, cut, or nobody listens.

        Raises ``ConnectionDropped`` when the connection is to be closed in the middle.
        """
        dropped = False
        complete = anyio.Event()

        async def watch(scope: anyio.CancelScope) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not complete.is_set():  # a server also says so when the response is over
                self.disconnects.append(self._clock())
                scope.cancel()

        self.open_streams += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(watch, group.cancel_scope)
                try:
                    dropped = await self._play(answer, steps, fault, send, complete)
                except OSError:  # how some servers say that nobody listens any more
                    self.disconnects.append(self._clock())
                group.cancel_scope.cancel()
        finally:
            self.open_streams -= 1
        if dropped:
            raise ConnectionDropped

    async def _play(
        self, answer: Answer, steps: Iterator[Step], fault: Fault, send: Any, complete: anyio.Event
    ) -> bool:
        """Whether the connection must be dropped at the end."""
        if fault.delay:
            await self._sleep(fault.delay)
        if fault.drop:
            return True
        length = len(answer.body) if answer.events is None else None
        await send(_start(answer, length=length))
        for step in steps:
            match step:
                case bytes():
                    await send({"type": "http.response.body", "body": step, "more_body": True})
                case Pause(seconds):
                    await self._sleep(seconds)
                case Hang():
                    await anyio.sleep_forever()
                case Drop():
                    return True
            await anyio.lowlevel.checkpoint()  # a server's send may never wait, and the watcher must get its turn
        complete.set()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return False


def _start(answer: Answer, *, length: int | None) -> dict[str, object]:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}
