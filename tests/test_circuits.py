"""Circuits open on a refusal, stay shut for as long as they must, and recover one call at a time."""

import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from copilot_asgi.circuits import (
    HOUR,
    WEEK,
    Circuit,
    Circuits,
    CircuitStatus,
    Permit,
    State,
    Turn,
    passed,
    refused,
    succeeded,
)
from copilot_asgi.errors import CircuitOpen
from copilot_asgi.wire.refusal import Reason, Refusal

NOW = 1_000.0
KEY = ("github.com/octocat", "gpt-4o")
ACCOUNT = ("github.com/octocat", None)


def refusal(reason: Reason = Reason.THROTTLED, asked: float | None = None, *, of_model: bool = True) -> Refusal:
    return Refusal(reason=reason, code="some_code", asked=asked, of_model=of_model)


class Line:
    """Callers in front of one circuit; ``woken`` names those that were told to ask again, in order."""

    def __init__(self, circuits: Circuits) -> None:
        self.circuits = circuits
        self.woken: list[str] = []

    def turn(self, name: str = "", *, deadline: float = NOW + 30, key: tuple[str, str | None] = KEY) -> Turn:
        return Turn(key, deadline=deadline, wake=lambda: self.woken.append(name))

    def enter(self, now: float = NOW, *, key: tuple[str, str | None] = KEY) -> Permit:
        """A caller that has to be let in at once."""
        turn = self.turn(key=key)
        try:
            permit = self.circuits.ask(turn, now, wait=False)
        finally:
            self.circuits.leave(turn)
        assert isinstance(permit, Permit)
        return permit


def opened(reason: Reason = Reason.THROTTLED, asked: float | None = 10.0) -> tuple[Circuits, Line]:
    circuits = Circuits()
    for _ in range(3):
        circuits.refused(*KEY, refusal(reason, asked), NOW)
    return circuits, Line(circuits)


@pytest.mark.parametrize(
    ("reason", "asked", "pauses"),
    [
        (Reason.THROTTLED, [None] * 7, [10, 20, 40, 80, 160, 300, 300]),
        (Reason.THROTTLED, [1.0, 1.0, None, 60.0], [1, 2, 4, 60]),
        (Reason.THROTTLED, [0.0, 0.0], [1, 2]),
        (Reason.THROTTLED, [3_599.0, None], [3_599, 300]),
        (Reason.THROTTLED, [183_600.0, None], [HOUR, 300]),
        (Reason.THROTTLED, [99_999_999.0] * 3, [HOUR] * 3),
        (Reason.QUOTA, [None] * 6, [30, 60, 120, 240, 300, 300]),
        (Reason.QUOTA, [1_209_600.0, 1_209_600.0], [30, 60]),
        (Reason.QUOTA, [5.0], [5]),
        (Reason.POLICY, [None, None], [30, 60]),
    ],
)
def test_pauses(reason: Reason, asked: list[float | None], pauses: list[float]) -> None:
    """Upstream's own time counts where time helps; else, and from the second refusal on, the pause doubles."""
    circuit, now = None, NOW
    for generation, (seconds, pause) in enumerate(zip(asked, pauses, strict=True)):
        circuit = refused(circuit, refusal(reason, seconds), now, generation)
        assert (circuit.state, circuit.seconds_left(now)) == (State.OPEN, pause)
        now = circuit.until
        circuit = passed(circuit, now)
        assert (circuit.state, circuit.seconds_left(now)) == (State.RECOVERING, 0.0)


OPEN = refused(None, refusal(asked=10.0), NOW, 1)
RECOVERING = passed(OPEN, NOW + 10)
STRUCK = refused(None, refusal(Reason.FORBIDDEN), NOW, 1)
FORBIDDEN = passed(refused(refused(STRUCK, STRUCK.refusal, NOW, 1), STRUCK.refusal, NOW, 2), NOW + 30)


@pytest.mark.parametrize(
    ("circuit", "event", "state"),
    [
        (None, refusal(), State.OPEN),
        (None, refusal(Reason.QUOTA), State.OPEN),
        (None, refusal(Reason.FORBIDDEN), State.CLOSED),
        (STRUCK, refusal(Reason.FORBIDDEN), State.CLOSED),
        (STRUCK, refusal(Reason.POLICY), State.OPEN),
        (OPEN, refusal(), State.OPEN),
        (OPEN, refusal(Reason.FORBIDDEN), State.OPEN),
        (RECOVERING, refusal(), State.OPEN),
        (RECOVERING, refusal(Reason.FORBIDDEN), State.RECOVERING),
        (FORBIDDEN, refusal(Reason.FORBIDDEN), State.OPEN),
        (STRUCK, NOW + 1e9, State.CLOSED),
        (OPEN, NOW + 9.99, State.OPEN),
        (OPEN, NOW + 10, State.RECOVERING),
        (RECOVERING, NOW + 1e9, State.RECOVERING),
        (STRUCK, None, None),
        (RECOVERING, None, State.RECOVERING),
    ],
)
def test_transitions(circuit: Circuit | None, event: Refusal | float | None, state: State | None) -> None:
    """Each event (a refusal, a time, a success) has one outcome in each state."""
    match event:
        case Refusal():
            after: Circuit | None = refused(circuit, event, NOW + 5, 2)
        case None:
            after = succeeded(circuit) if circuit is not None else None
        case now:
            after = passed(circuit, now) if circuit is not None else None
    assert (after and after.state) == state


def test_the_third_403_in_a_row_opens() -> None:
    """The first two may be about the token or one request; a success in between shows that they were."""
    circuits = Circuits()
    line = Line(circuits)
    for _ in range(2):
        circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW)
    circuits.succeeded(line.enter())
    assert circuits.concerning(*KEY) == ()
    for _ in range(2):
        circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW)
        circuits.release(line.enter())
    assert circuits.states(NOW) == []
    circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW)
    assert [status.state for status in circuits.states(NOW)] == [State.OPEN]
    with pytest.raises(CircuitOpen):
        line.enter()


def test_recovery_doubles_with_each_success() -> None:
    """After a throttling one call may be under way, then 2, 4, 8; the fourth success closes the circuit."""
    circuits, line = opened()
    now = NOW + 10
    for allowance in (1, 2, 4, 8):
        permits = [line.enter(now) for _ in range(allowance)]
        extra = line.turn("extra")
        assert circuits.ask(extra, now, wait=False) == NOW + 30 - now
        circuits.leave(extra)
        circuits.succeeded(permits[0])
        for permit in permits:
            circuits.release(permit)
    assert (circuits.states(now), circuits.concerning(*KEY)) == ([], ())


def test_a_strike_does_not_change_what_is_known() -> None:
    """While a throttled circuit is open or recovers, a 403 only counts; a success ends the row, a third one opens."""
    circuits = Circuits()
    circuits.refused(*KEY, refusal(asked=20.0), NOW)
    line = Line(circuits)
    circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW)
    assert circuits.states(NOW) == [CircuitStatus(*KEY, Reason.THROTTLED, State.OPEN, 20.0)]
    circuits.succeeded(line.enter(NOW + 20))
    for _ in range(2):
        circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW + 20)
        assert circuits.states(NOW + 20) == [CircuitStatus(*KEY, Reason.THROTTLED, State.RECOVERING, 0.0)]
    circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW + 20)
    assert circuits.states(NOW + 20) == [CircuitStatus(*KEY, Reason.FORBIDDEN, State.OPEN, 40.0)]


def test_a_call_from_before_the_second_strike_ends_the_row() -> None:
    """A success shows that the strikes were not about everybody, however many came since it was let through."""
    circuits = Circuits()
    circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW)
    permit = Line(circuits).enter()
    circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW)
    circuits.succeeded(permit)
    assert circuits.concerning(*KEY) == ()


@pytest.mark.parametrize(
    ("asked", "told"), [(183_600.0, 183_600.0), (99_999_999.0, WEEK), (1e10, WEEK)], ids=["days", "garbage", "more"]
)
def test_a_long_limit_is_told_in_full_and_tried_every_hour(asked: float, told: float) -> None:
    """One call an hour passes; the others hear upstream's own time, and none waits for what that one finds out."""
    circuits, line = opened(asked=asked)
    for now in (NOW + HOUR - 1, NOW + HOUR):
        if now == NOW + HOUR:
            probe = line.enter(now)
        for wait in (False, True):
            with pytest.raises(CircuitOpen) as caught:
                circuits.ask(line.turn(deadline=now + 30), now, wait=wait)
            assert caught.value.retry_after == NOW + told - now
    circuits.succeeded(probe)
    circuits.release(probe)
    permits = [line.enter(NOW + HOUR) for _ in range(2)]
    # It is over, as a call has shown: now one's turn is waited for as ever.
    assert circuits.ask(line.turn(deadline=NOW + HOUR + 30), NOW + HOUR, wait=False) == 30.0
    assert len(permits) == 2


def test_a_success_counts_before_its_place_is_free() -> None:
    """Long streams do not hold the recovery up: their head counts, though they keep their place to the last byte."""
    circuits, line = opened()
    permits = []
    for _ in range(4):
        permits.append(line.enter(NOW + 10))
        circuits.succeeded(permits[-1])
    assert circuits.states(NOW + 10) == []
    for permit in permits:
        circuits.release(permit)
    assert circuits.concerning(*KEY) == ()


@pytest.mark.parametrize("reason", [Reason.QUOTA, Reason.POLICY, Reason.FORBIDDEN])
def test_one_probe_shows_whether_somebody_mended_it(reason: Reason) -> None:
    """For quota and policy one call passes, the others are refused meanwhile; its success closes the circuit."""
    circuits, line = opened(reason, asked=5.0)
    with pytest.raises(CircuitOpen):
        line.enter(NOW + 4.9)
    probe = line.enter(NOW + 5)
    with pytest.raises(CircuitOpen) as caught:
        line.enter(NOW + 5)
    assert (caught.value.status, caught.value.retry_after) == (reason.status, 1.0)
    circuits.succeeded(probe)
    circuits.release(probe)
    assert circuits.concerning(*KEY) == ()


def test_a_probe_that_failed_otherwise_gives_its_place_back() -> None:
    """Neither a success nor a refusal: the next call is the probe."""
    circuits, line = opened(Reason.QUOTA, asked=5.0)
    for _ in range(5):
        circuits.release(line.enter(NOW + 5))
    assert [status.state for status in circuits.states(NOW + 5)] == [State.RECOVERING]


def test_a_refusal_while_recovering_opens_for_longer() -> None:
    """The recovery starts again from one call, after twice the pause."""
    circuits, line = opened()
    first = line.enter(NOW + 10)
    circuits.succeeded(first)
    second = line.enter(NOW + 10)
    circuits.refused(*KEY, refusal(), NOW + 11)
    assert [status.seconds_left for status in circuits.states(NOW + 11)] == [20.0]
    circuits.release(second)
    line.enter(NOW + 31)
    # The stream of the former recovery ends: neither its success nor its place counts now.
    circuits.succeeded(first)
    circuits.release(first)
    assert not isinstance(circuits.ask(line.turn(deadline=NOW + 99), NOW + 31, wait=False), Permit)


def test_refusals_of_calls_that_were_under_way_do_not_double_the_pause() -> None:
    """A hundred calls are refused at once: the circuit opens once, for the longest time that upstream named."""
    circuits = Circuits()
    for seconds in (10.0, 4.0, 12.0, None, 3.0) * 20:
        circuits.refused(*KEY, refusal(asked=seconds), NOW)
    assert [status.seconds_left for status in circuits.states(NOW)] == [12.0]


def test_the_newest_word_counts() -> None:
    """A late refusal that names a time corrects what clients are told; one that names none does not."""
    circuits = Circuits()
    for seconds in (None, 7_200.0, 3_600.0, None):
        circuits.refused(*KEY, refusal(Reason.QUOTA, seconds), NOW)
    with pytest.raises(CircuitOpen) as caught:
        Line(circuits).enter()
    assert caught.value.retry_after == 3_600.0


def test_what_clients_are_told() -> None:
    """Why, upstream's status and code, the exact time it named, when it will be asked again, and what to do."""
    _, line = opened(Reason.QUOTA, asked=1_209_600.0)
    with pytest.raises(CircuitOpen) as caught:
        line.enter(NOW + 20)
    error = caught.value
    assert (error.status, error.code, error.retry_after) == (402, "some_code", 1_209_580.0)
    assert error.message == (
        "GitHub Copilot said a moment ago that this account's quota is used up; it is not asked again for 10 s. "
        "See https://github.com/settings/copilot for when the quota resets and how to raise it."
    )
    line.enter(NOW + 30)
    with pytest.raises(CircuitOpen, match="; it is asked again little by little") as caught:
        line.enter(NOW + 30)
    assert caught.value.retry_after == 1_209_570.0


def test_a_code_that_upstream_did_not_name() -> None:
    """Then it is ours."""
    circuits = Circuits()
    circuits.refused(*KEY, Refusal(reason=Reason.POLICY), NOW)
    with pytest.raises(CircuitOpen) as caught:
        Line(circuits).enter()
    assert (caught.value.code, caught.value.retry_after) == ("circuit_open", 30.0)


@pytest.mark.parametrize(
    ("asked", "of_model", "concerned"),
    [
        (refusal(), True, (KEY,)),
        (refusal(of_model=False), False, (ACCOUNT,)),
    ],
)
def test_scope(asked: Refusal, of_model: bool, concerned: tuple[object, ...]) -> None:
    """A refusal of one model leaves the others alone; one of the account holds back all its models, and no other's."""
    circuits = Circuits()
    circuits.refused(*KEY, asked, NOW)
    assert circuits.concerning(*KEY) == concerned
    assert circuits.concerning(KEY[0], "gpt-5") == (() if of_model else (ACCOUNT,))
    assert circuits.concerning("github.com/hubot", "gpt-4o") == ()


def test_a_model_is_asked_for_before_its_account() -> None:
    """Where both are shut, what cannot be waited for is said first."""
    circuits = Circuits()
    circuits.refused(*KEY, refusal(of_model=False), NOW)
    circuits.refused(*KEY, refusal(Reason.QUOTA), NOW)
    assert circuits.concerning(*KEY) == (KEY, ACCOUNT)


def test_waiting_for_an_open_circuit() -> None:
    """With ``wait``, a throttled circuit that opens before the deadline is waited for; any other is not."""
    circuits, line = opened(asked=10.0)
    assert circuits.ask(line.turn(deadline=NOW + 10), NOW, wait=True) == 10.0
    assert circuits.ask(line.turn(deadline=NOW + 30), NOW + 4, wait=True) == 6.0
    for turn, wait in ((line.turn(deadline=NOW + 9.9), True), (line.turn(), False)):
        with pytest.raises(CircuitOpen) as caught:
            circuits.ask(turn, NOW, wait=wait)
        assert (caught.value.status, caught.value.retry_after) == (429, 10.0)
    for reason in (Reason.QUOTA, Reason.POLICY, Reason.FORBIDDEN):
        circuits, line = opened(reason, asked=5.0)
        with pytest.raises(CircuitOpen):
            circuits.ask(line.turn(), NOW, wait=True)


def test_permits_are_looked_at_again() -> None:
    """They still do unless a circuit opened since, of the model or of the account; strikes do not matter."""
    circuits = Circuits()
    line = Line(circuits)

    def still(*permits: Permit, now: float = NOW, deadline: float = NOW + 99) -> bool:
        return circuits.still(permits, *KEY, now, deadline=deadline)

    assert still()
    circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW)
    assert still()
    circuits.refused(*KEY, refusal(asked=10.0), NOW)
    assert not still()
    assert not still(now=NOW + 10)
    permit = line.enter(NOW + 10)
    assert still(permit, now=NOW + 10)
    circuits.succeeded(permit)
    assert still(permit, now=NOW + 10)
    circuits.refused(*KEY, refusal(of_model=False), NOW + 10)
    assert not still(permit, now=NOW + 10)
    both = permit, line.enter(NOW + 20, key=ACCOUNT)
    assert still(*both, now=NOW + 20)
    circuits.refused(*KEY, refusal(), NOW + 20)
    assert not still(*both, now=NOW + 20)
    assert not still(*both, now=NOW + 98.9)
    with pytest.raises(CircuitOpen) as caught:
        still(*both, now=NOW + 20, deadline=NOW + 20)
    assert (caught.value.status, caught.value.retry_after) == (429, 20.0)


def test_the_line_is_first_come_first_served() -> None:
    """Whoever came first passes first; nobody overtakes, and whoever leaves makes place for the next."""
    circuits, line = opened()
    holder = line.enter(NOW + 10)
    a, b, c = (line.turn(name) for name in "abc")
    for turn in (a, b, c):
        assert not isinstance(circuits.ask(turn, NOW + 10, wait=False), Permit)
    circuits.leave(b)
    line.woken.clear()
    circuits.release(holder)
    assert line.woken == ["a"]
    assert not isinstance(circuits.ask(c, NOW + 10, wait=False), Permit)
    assert not isinstance(circuits.ask(line.turn("newcomer"), NOW + 10, wait=False), Permit)
    permit = circuits.ask(a, NOW + 10, wait=False)
    assert isinstance(permit, Permit)
    circuits.leave(a)
    assert line.woken[-1] == "c"
    circuits.succeeded(permit)
    assert isinstance(circuits.ask(c, NOW + 10, wait=False), Permit)


def test_everybody_asks_again_when_the_circuit_closes_or_opens() -> None:
    """Closed: all pass. Open again: those who cannot wait that long hear it now, not at their deadline."""
    circuits, line = opened(Reason.THROTTLED)
    permit = line.enter(NOW + 10)
    turns = [line.turn(name) for name in "abc"]
    for turn in turns:
        circuits.ask(turn, NOW + 10, wait=False)
    line.woken.clear()
    circuits.refused(*KEY, refusal(asked=3_600.0), NOW + 11)
    assert line.woken == ["a", "b", "c"]
    for turn in turns:
        with pytest.raises(CircuitOpen):
            circuits.ask(turn, NOW + 11, wait=True)
        circuits.leave(turn)
    circuits.release(permit)
    assert circuits._lines == {}


def test_who_waited_passes_a_circuit_that_closed() -> None:
    """Even if a first bare 403 was counted meanwhile, and others are still in line."""
    circuits, line = opened()
    permits = [line.enter(NOW + 10)]
    for _ in range(3):
        circuits.succeeded(permits[0])
    a, b = line.turn("a", deadline=NOW + 60), line.turn("b", deadline=NOW + 60)
    permits += [line.enter(NOW + 10) for _ in range(7)]
    assert [isinstance(circuits.ask(turn, NOW + 10, wait=False), Permit) for turn in (a, b)] == [False, False]
    line.woken.clear()
    circuits.succeeded(permits[0])
    assert line.woken == ["a", "b"]
    circuits.refused(*KEY, refusal(Reason.FORBIDDEN), NOW + 10)
    assert isinstance(circuits.ask(b, NOW + 10, wait=False), Permit)


def test_the_line_is_bounded() -> None:
    """One more than may wait is refused at once, and told to come back in a moment."""
    circuits = Circuits(queue=2)
    circuits.refused(*KEY, refusal(asked=10.0), NOW)
    line = Line(circuits)
    line.enter(NOW + 10)
    first, second, third = (line.turn() for _ in range(3))
    for turn in (first, second, first):
        circuits.ask(turn, NOW + 10, wait=False)
    with pytest.raises(CircuitOpen) as caught:
        circuits.ask(third, NOW + 10, wait=False)
    assert (caught.value.status, caught.value.retry_after) == (429, 1.0)
    circuits.leave(third)
    circuits.leave(first)
    assert not isinstance(circuits.ask(third, NOW + 10, wait=False), Permit)


def test_a_turn_ends_at_its_deadline() -> None:
    """Whoever waited for as long as allowed is told to come back in a moment."""
    circuits, line = opened()
    line.enter(NOW + 10)
    turn = line.turn(deadline=NOW + 12)
    assert circuits.ask(turn, NOW + 10, wait=False) == 2.0
    with pytest.raises(CircuitOpen) as caught:
        circuits.ask(turn, NOW + 12, wait=False)
    assert (caught.value.status, caught.value.retry_after) == (429, 1.0)


def test_a_place_whose_loop_ended_blocks_nobody() -> None:
    """Who never came back to leave the line is passed over after its deadline."""
    circuits, line = opened()
    holder = line.enter(NOW + 10)
    lost, next_one = line.turn("lost", deadline=NOW + 11), line.turn("next")
    for turn in (lost, next_one):
        circuits.ask(turn, NOW + 10, wait=False)
    circuits.release(holder)
    assert not isinstance(circuits.ask(next_one, NOW + 11, wait=False), Permit)
    assert isinstance(circuits.ask(next_one, NOW + 11.1, wait=False), Permit)


def test_leaving_without_a_place_is_harmless() -> None:
    """A turn that was never in line, or has left already, changes nothing."""
    circuits, line = opened()
    turn = line.turn()
    circuits.leave(turn)
    circuits.leave(turn)
    assert circuits._lines == {}


def test_states() -> None:
    """What holds something back is listed with its reason and the seconds left; strikes are not."""
    circuits = Circuits()
    assert circuits.states(NOW) == []
    circuits.refused("a", "m", refusal(Reason.QUOTA), NOW)
    circuits.refused("a", "m", refusal(Reason.THROTTLED, 7.5, of_model=False), NOW)
    circuits.refused("a", "other", refusal(Reason.FORBIDDEN), NOW)
    assert circuits.states(NOW + 5) == [
        CircuitStatus("a", "m", Reason.QUOTA, State.OPEN, 25.0),
        CircuitStatus("a", None, Reason.THROTTLED, State.OPEN, 2.5),
    ]
    assert circuits.states(NOW + 8)[1] == CircuitStatus("a", None, Reason.THROTTLED, State.RECOVERING, 0.0)


def test_memory_is_bounded() -> None:
    """Of too many circuits the one left alone for longest is forgotten, and who waits for that one passes."""
    circuits = Circuits(capacity=3)
    line = Line(circuits)
    for name in "abc":
        circuits.refused(name, "m", refusal(asked=5.0), NOW)
    turn = line.turn("waiting", key=("b", "m"))
    circuits.ask(turn, NOW, wait=True)
    line.enter(NOW + 5, key=("a", "m"))
    circuits.refused("d", "m", refusal(), NOW + 5)
    assert [status.account for status in circuits.states(NOW + 5)] == ["c", "a", "d"]
    assert line.woken == ["waiting"]
    assert isinstance(circuits.ask(turn, NOW + 5, wait=True), Permit)


class AnyOrder(RuleBasedStateMachine):
    """Six callers, refusals, successes and time, in whatever order."""

    callers = st.integers(0, 5)

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.circuits = Circuits(queue=4)
        self.turns = [Turn(KEY, deadline=NOW + 500 + number, wake=lambda: None) for number in range(6)]
        self.permits: dict[int, Permit] = {}

    @property
    def circuit(self) -> Circuit | None:
        return self.circuits._circuits.get(KEY)

    @rule(asked=st.sampled_from([None, 0.0, 20.0]))
    def refuse(self, asked: float | None) -> None:
        self.circuits.refused(*KEY, refusal(asked=asked), self.now)

    @rule(seconds=st.sampled_from([1.0, 20.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(caller=callers)
    def ask(self, caller: int) -> None:
        if caller in self.permits:
            return
        is_open = self.circuit is not None and self.circuit.seconds_left(self.now) > 0
        try:
            answer = self.circuits.ask(self.turns[caller], self.now, wait=True)
        except CircuitOpen:
            self.circuits.leave(self.turns[caller])
            return
        if isinstance(answer, Permit):
            assert not is_open
            self.permits[caller] = answer
            self.circuits.leave(self.turns[caller])

    @rule(caller=callers)
    def leave(self, caller: int) -> None:
        self.circuits.leave(self.turns[caller])

    @rule(caller=callers)
    def succeed(self, caller: int) -> None:
        if caller in self.permits:
            self.circuits.succeeded(self.permits[caller])

    @rule(caller=callers)
    def end(self, caller: int) -> None:
        if caller in self.permits:
            self.circuits.release(self.permits.pop(caller))

    @invariant()
    def never_more_than_allowed(self) -> None:
        assert self.circuit is None or 0 <= self.circuit.in_flight <= self.circuit.allowance < 16
        assert len(self.circuits._lines.get(KEY, ())) <= 4

    def teardown(self) -> None:
        for caller, turn in enumerate(self.turns):
            self.end(caller)
            self.circuits.leave(turn)
        assert self.circuit is None or self.circuit.in_flight == 0
        assert self.circuits._lines == {}


def test_the_allowance_holds() -> None:
    """In whatever order: open lets nothing pass, recovering no more than allowed, and in the end nothing is taken."""
    run_state_machine_as_test(AnyOrder, settings=settings(max_examples=100, stateful_step_count=40, deadline=None))


class Yielding(dict[tuple[str, str | None], Circuit]):
    """Lets other threads run between each reading and what follows from it."""

    def get(self, key: tuple[str, str | None], default: object = None) -> Circuit | None:  # type: ignore[override]  # of the three forms of dict.get the one in use
        value = super().get(key)
        time.sleep(0)
        return value


def test_threads_share_it() -> None:
    """Loops in several threads never take more places than there are, and give back each one."""
    circuits = Circuits()
    circuits._circuits = Yielding()
    circuits.refused(*KEY, refusal(Reason.QUOTA, 5.0), NOW)
    line = Line(circuits)
    inside: set[int] = set()
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(1_000):
            try:
                permit = line.enter(NOW + 5)
            except CircuitOpen:
                continue
            inside.add(number)
            most.append(len(inside))
            inside.discard(number)
            circuits.release(permit)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert circuits._circuits[KEY].in_flight == 0
