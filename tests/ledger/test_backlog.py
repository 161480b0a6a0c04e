"""What is noted adds up, whatever was written in between, and never grows without bound."""

import logging
from datetime import UTC, datetime

import pytest

from copilot_asgi.complaints import Complaints
from copilot_asgi.ledger import Reservation
from copilot_asgi.ledger import backlog as module
from copilot_asgi.ledger.backlog import Backlog
from copilot_asgi.pricing import Usage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


def entry(id: str, *, at: float = NOON) -> Reservation:
    return Reservation(id=id, caller="c", account="a", model="m", at=at)


@pytest.fixture
def dropped() -> Complaints:
    return Complaints(logging.getLogger("test"), "Requests are missing")


@pytest.fixture
def backlog(dropped: Complaints) -> Backlog:
    return Backlog(dropped)


def begin(backlog: Backlog, *ids: str) -> None:
    for id in ids:
        backlog.note(entry(id), None, has_ended=False)


def end(backlog: Backlog, *ids: str, usage: Usage | None = None, at: float = NOON) -> None:
    for id in ids:
        backlog.note(entry(id, at=at), usage, has_ended=True)


def outcome(backlog: Backlog) -> tuple[list[str], list[str], dict[str | None, tuple[int, int]]]:
    """What is to be taken off the record, put on it, and added by day."""
    backlog.gather()
    sums = {total.day: (total.requests, total.nano_credits) for total in backlog.totals.values()}
    return list(backlog.ended), list(backlog.begun), sums


def test_nothing_noted_is_nothing_to_write(backlog: Backlog) -> None:
    """There is something from the first note until it was written."""
    assert not backlog
    begin(backlog, "a")
    assert backlog
    backlog.gather()
    assert backlog
    backlog.clear()
    assert not backlog


def test_what_began_and_ended_leaves_its_sum(backlog: Backlog) -> None:
    """The record is not touched for a request that ends before it is written; requests of one day are one sum."""
    begin(backlog, "a", "b")
    end(backlog, "a", "b", usage=Usage(nano_credits=3))
    begin(backlog, "c")
    end(backlog, "c")
    begin(backlog, "d")
    end(backlog, "e", usage=Usage(nano_credits=1), at=NOON + DAY)
    assert outcome(backlog) == (["e"], ["d"], {"2026-11-20": (2, 6), "2026-11-21": (1, 1)})


def test_what_ends_after_it_was_written_is_taken_off(backlog: Backlog) -> None:
    """Its id is; also when it began anew since, for the record may hold it as it was."""
    begin(backlog, "a", "b")
    assert outcome(backlog) == ([], ["a", "b"], {})
    backlog.clear()
    end(backlog, "a", "b")
    begin(backlog, "b")
    assert outcome(backlog) == (["a", "b"], ["b"], {})
    end(backlog, "b")
    assert outcome(backlog) == (["a", "b"], [], {})


def test_what_could_not_be_written_is_added_to(backlog: Backlog) -> None:
    """Gathered twice without a writing between, it is the same as gathered once."""
    begin(backlog, "a", "b")
    assert outcome(backlog) == ([], ["a", "b"], {})
    end(backlog, "a", usage=Usage(nano_credits=3))
    assert outcome(backlog) == ([], ["b"], {"2026-11-20": (1, 3)})
    end(backlog, "b", usage=Usage(nano_credits=4))
    assert outcome(backlog) == ([], [], {"2026-11-20": (2, 7)})


def test_notes_are_bounded(backlog: Backlog, dropped: Complaints, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that hangs does not fill the memory; what is not noted any more is counted."""
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    begin(backlog, *"abcde")
    assert dropped.count == 2
    assert outcome(backlog) == ([], ["a", "b", "c"], {})


@pytest.mark.parametrize(("ended", "begun", "days"), [(5, 0, 0), (0, 5, 0), (0, 0, 5), (5, 5, 5), (2, 2, 2)])
def test_what_is_kept_is_bounded(
    backlog: Backlog, dropped: Complaints, monkeypatch: pytest.MonkeyPatch, *, ended: int, begun: int, days: int
) -> None:
    """While nothing can be written the newest are kept of each kind, and the log is told that others were not."""
    for number in range(5):
        if number < ended:
            end(backlog, f"e{number}")
        if number < begun:
            begin(backlog, f"b{number}")
        if number < days:
            begin(backlog, f"d{number}")
            end(backlog, f"d{number}", usage=Usage(), at=NOON + number * DAY)
    backlog.gather()
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    backlog.gather()
    assert list(backlog.ended) == [f"e{number}" for number in range(ended)][-2:]
    assert list(backlog.begun) == [f"b{number}" for number in range(begun)][-2:]
    assert len(backlog.totals) == min(days, 2)
    assert dropped.count == sum(count > 2 for count in (ended, begun, days))
