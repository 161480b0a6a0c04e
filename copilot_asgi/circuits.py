"""Circuits: what upstream refused a moment ago is not asked again yet, and then carefully at first.

Rule: while a circuit is open nothing goes upstream; while it recovers no more calls are under way than its allowance,
which starts at one and doubles with each success. Pure but for one lock: times are passed in (monotonic seconds), and
whoever waits brings the function that wakes it.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from math import ceil, inf
from threading import Lock
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import CircuitOpen
from copilot_asgi.wire.refusal import Reason, Refusal

__all__ = ["Circuit", "CircuitStatus", "Circuits", "Key", "Permit", "State", "Turn", "passed", "refused", "succeeded"]

Key = tuple[str, str | None]
"""The account, and the model, or ``None`` for what concerns all models of the account."""

LONGEST_DOUBLED = 300.0  # seconds; what waits that nobody asked for grow to
LEAST = 1.0  # seconds; a wait of nothing would be none
PROBE_EVERY = 300.0  # seconds; a person may have raised the quota or changed the policy
HOUR = 3_600.0  # seconds; what upstream says of longer times may be garbage, or end with another plan
WEEK = 7 * 86_400.0  # seconds; upstream's longest limits are weekly


class State(Enum):
    """A closed circuit lets everything pass, an open one nothing, a recovering one a few calls at a time."""

    CLOSED = "closed"
    OPEN = "open"
    RECOVERING = "recovering"


class _Rule(msgspec.Struct, frozen=True):
    """How circuits of one reason behave.

    ``first`` is how long they open when upstream names no time, ``cap`` the longest whatever it names (both in
    seconds), ``longest_told`` the longest that clients are told; ``strikes`` refusals in a row open one, an allowance
    of ``enough`` closes it. ``passes`` says whether it passes with time: upstream's own time is kept to then, and it
    makes sense to wait for one's turn. Anything else is over when a person does something about it, so it is tried
    again sooner than upstream says.
    """

    first: float
    cap: float
    enough: int
    strikes: int = 1
    passes: bool = False
    longest_told: float = inf


_RULES: Mapping[Reason, _Rule] = MappingProxyType(
    {
        Reason.THROTTLED: _Rule(first=10.0, cap=HOUR, enough=16, passes=True, longest_told=WEEK),
        Reason.QUOTA: _Rule(first=30.0, cap=PROBE_EVERY, enough=2),
        Reason.POLICY: _Rule(first=30.0, cap=PROBE_EVERY, enough=2),
        Reason.FORBIDDEN: _Rule(first=30.0, cap=PROBE_EVERY, enough=2, strikes=3),
    }
)


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """One circuit at one moment. ``generation`` is new with each opening; the permits of former ones no longer count.

    ``until`` is when it opens to a first call, ``told_until`` when upstream said that it is over, which may be weeks
    later; ``pause`` is how long it was opened for, ``None`` while only ``strikes`` are counted.
    """

    refusal: Refusal
    generation: int
    state: State = State.CLOSED
    strikes: int = 0
    until: float = 0.0
    told_until: float = 0.0
    pause: float | None = None
    allowance: int = 1
    in_flight: int = 0

    @property
    def rule(self) -> _Rule:
        """How it behaves."""
        return _RULES[self.refusal.reason]

    @property
    def has_room(self) -> bool:
        """Whether it recovers, and one more call may go upstream."""
        return self.state is State.RECOVERING and self.in_flight < self.allowance

    def seconds_left(self, now: float) -> float:
        """Exactly how long nothing passes."""
        return max(self.until - now, 0.0) if self.state is State.OPEN else 0.0


def refused(circuit: Circuit | None, refusal: Refusal, now: float, generation: int) -> Circuit:
    """What a refusal makes of a circuit: a strike, open, open for longer.

    Calls that were under way when it opened may all be refused: those only confirm what is known, and do not double
    the pause once for each of them. What only counts as a strike changes nothing else.
    """
    rule = _RULES[refusal.reason]
    asked = refusal.asked or 0.0
    told_until = now + min(asked, rule.longest_told)
    strikes = 1 if circuit is None else circuit.strikes + 1
    if strikes < rule.strikes:
        if circuit is None:
            return Circuit(refusal=refusal, generation=generation, strikes=strikes)
        return msgspec.structs.replace(circuit, strikes=strikes)
    if circuit is not None and circuit.state is State.OPEN:
        until = max(circuit.until, now + min(asked, rule.cap)) if rule.passes else circuit.until
        told_until = circuit.told_until if refusal.asked is None else told_until
        return msgspec.structs.replace(circuit, refusal=refusal, until=until, told_until=told_until)
    pause = _pause(rule, refusal.asked, None if circuit is None else circuit.pause)
    return Circuit(
        refusal=refusal,
        generation=generation,
        state=State.OPEN,
        strikes=strikes,
        until=now + pause,
        told_until=told_until,
        pause=pause,
    )


def _pause(rule: _Rule, asked: float | None, last: float | None) -> float:
    """Seconds to open for: what upstream asked for, or else twice as long as the last time."""
    own = rule.first if last is None else min(last * 2.0, LONGEST_DOUBLED)
    if asked is None:
        wanted = own
    elif not rule.passes:
        wanted = min(asked, own)
    else:
        wanted = asked if last is None else max(asked, own)
    return min(max(wanted, LEAST), rule.cap)


def passed(circuit: Circuit, now: float) -> Circuit:
    """What time makes of a circuit: one that was open for long enough recovers."""
    if circuit.state is not State.OPEN or now < circuit.until:
        return circuit
    return msgspec.structs.replace(circuit, state=State.RECOVERING)


def succeeded(circuit: Circuit) -> Circuit | None:
    """What the success of a call with a permit makes of a circuit: twice the allowance, or ``None``: closed.

    The time that upstream named is over then, and strikes no longer come in a row.
    """
    allowance = circuit.allowance * 2
    if circuit.state is State.CLOSED or allowance >= circuit.rule.enough:
        return None
    return msgspec.structs.replace(circuit, allowance=allowance, strikes=0, told_until=0.0)


class Permit(msgspec.Struct, frozen=True):
    """Leave for one call upstream."""

    key: Key
    generation: int | None


class Turn:
    """A caller that wants to pass the circuit of ``key``, at the latest at ``deadline``; ``wake`` says: ask again.

    ``wake`` may be called from any thread, while a lock is held: it must not wait, nor call back.
    """

    __slots__ = ("deadline", "key", "wake")

    def __init__(self, key: Key, *, deadline: float, wake: Callable[[], object]) -> None:
        self.key = key
        self.deadline = deadline
        self.wake = wake


class CircuitStatus(msgspec.Struct, frozen=True):
    """What there is to show of a circuit; ``seconds_left`` is 0 once it recovers."""

    account: str
    model: str | None
    reason: Reason
    state: State
    seconds_left: float


class Circuits:
    """All circuits that are not closed, and the lines in front of them. Shared by all event loops; nothing here waits.

    At most ``queue`` callers wait in front of one circuit; of more than ``capacity`` circuits the one that was left
    alone for longest is forgotten.
    """

    def __init__(self, *, queue: int = 32, capacity: int = 4096) -> None:
        self._queue = queue
        self._capacity = capacity
        self._lock = Lock()
        self._circuits: dict[Key, Circuit] = {}
        self._lines: dict[Key, deque[Turn]] = {}
        self._generation = 0

    def concerning(self, account: str, model: str) -> tuple[Key, ...]:
        """The circuits that a call has to pass, in the order in which to ask; mostly there are none."""
        if not self._circuits:
            return ()
        return tuple(key for key in ((account, model), (account, None)) if key in self._circuits)

    def ask(self, turn: Turn, now: float, *, wait: bool) -> Permit | float:
        """Leave to call upstream, or the seconds after which to ask again; until then ``turn`` keeps its place in line.

        With ``wait`` an open circuit may be waited for as well, if it is throttled and opens before the deadline.
        Raises ``CircuitOpen``. Whoever asked must ``leave`` in the end, and ``release`` its permit.
        """
        with self._lock:
            circuit = self._now(turn.key, now)
            if circuit is None:
                return Permit(turn.key, None)
            if circuit.state is State.CLOSED:
                return Permit(turn.key, circuit.generation)
            line = self._line(turn, now)
            if circuit.has_room and (not line or line[0] is turn):
                self._put(turn.key, msgspec.structs.replace(circuit, in_flight=circuit.in_flight + 1))
                return Permit(turn.key, circuit.generation)
            seconds = self._seconds_to_wait(circuit, turn, now, wait=wait)
            if turn not in line:
                if len(line) >= self._queue:
                    raise _error(circuit, now)
                line.append(turn)
            return seconds

    def still(self, permits: Collection[Permit], account: str, model: str, now: float, *, deadline: float) -> bool:
        """Whether ``permits`` are still leave to call; if not, whoever waited with them has to ask for new ones.

        Raises ``CircuitOpen`` if that would begin at ``deadline`` or later.
        """
        if not self._circuits:
            return True
        with self._lock:
            for key in self.concerning(account, model):
                circuit = passed(self._circuits[key], now)
                if circuit.state is State.CLOSED or Permit(key, circuit.generation) in permits:
                    continue
                if now >= deadline:
                    raise _error(circuit, now)
                return False
            return True

    def leave(self, turn: Turn) -> None:
        """Give up the place in line; harmless for one that has none."""
        with self._lock:
            line = self._lines.get(turn.key, deque())
            if turn in line:
                line.remove(turn)
            if line:
                line[0].wake()
            else:
                self._lines.pop(turn.key, None)

    def succeeded(self, permit: Permit) -> None:
        """The call answered."""
        with self._lock:
            circuit = self._of(permit)
            if circuit is not None:
                self._put(permit.key, succeeded(circuit))

    def release(self, permit: Permit) -> None:
        """The call is over, however it went."""
        with self._lock:
            circuit = self._of(permit)
            if circuit is not None and circuit.state is State.RECOVERING:
                self._put(permit.key, msgspec.structs.replace(circuit, in_flight=circuit.in_flight - 1))

    def refused(self, account: str, model: str, refusal: Refusal, now: float) -> None:
        """Upstream refused a call, whether or not that had a permit."""
        key = (account, model if refusal.of_model else None)
        with self._lock:
            self._generation += 1
            self._put(key, refused(self._now(key, now), refusal, now, self._generation))

    def states(self, now: float) -> list[CircuitStatus]:
        """Every circuit that holds something back."""
        with self._lock:
            circuits = {key: passed(circuit, now) for key, circuit in self._circuits.items()}
        return [
            CircuitStatus(*key, circuit.refusal.reason, circuit.state, circuit.seconds_left(now))
            for key, circuit in circuits.items()
            if circuit.state is not State.CLOSED
        ]

    def _line(self, turn: Turn, now: float) -> deque[Turn]:
        """The line that ``turn`` is for, without those in front whose loop ended before they could leave it."""
        line = self._lines.setdefault(turn.key, deque())
        while line and line[0] is not turn and line[0].deadline < now:
            line.popleft()
        return line

    def _seconds_to_wait(self, circuit: Circuit, turn: Turn, now: float, *, wait: bool) -> float:
        if now >= turn.deadline or not circuit.rule.passes or circuit.told_until > turn.deadline:
            raise _error(circuit, now)
        if circuit.state is State.RECOVERING:
            return turn.deadline - now
        if not wait or circuit.until > turn.deadline:
            raise _error(circuit, now)
        return circuit.until - now

    def _now(self, key: Key, now: float) -> Circuit | None:
        circuit = self._circuits.get(key)
        return None if circuit is None else passed(circuit, now)

    def _of(self, permit: Permit) -> Circuit | None:
        """The circuit, unless it has closed or opened again since the permit was given."""
        circuit = self._circuits.get(permit.key)
        return circuit if circuit is not None and circuit.generation == permit.generation else None

    def _put(self, key: Key, circuit: Circuit | None) -> None:
        """Keep a circuit as the one used last, or forget a closed one; whoever that concerns asks again."""
        self._circuits.pop(key, None)
        if circuit is not None:
            self._circuits[key] = circuit
        line = tuple(self._lines.get(key, ()))
        for turn in line[:1] if circuit is not None and circuit.state is State.RECOVERING else line:
            turn.wake()
        if len(self._circuits) > self._capacity:
            self._put(next(iter(self._circuits)), None)


def _error(circuit: Circuit, now: float) -> CircuitOpen:
    """Why, and how long it holds: told is what upstream named, even where a call may pass earlier."""
    reason = circuit.refusal.reason
    left = max(circuit.until, circuit.told_until) - now
    pause = circuit.seconds_left(now)
    hint = f"it is not asked again for {ceil(pause)} s" if pause else "it is asked again little by little"
    return CircuitOpen(
        f"{reason.said}; {hint}. {reason.advice}".rstrip(),
        status=reason.status,
        retry_after=left if left > 0 else LEAST,
        code=circuit.refusal.code,
    )
