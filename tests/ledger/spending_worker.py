"""One of many processes that spend from one file. Started by a test.

``spend`` asks so many times for one credit of a budget, several requests at once, and prints how often it got it.
``until_killed`` goes on for ever and prints each request before it is reserved and after it was settled.
``note`` begins and ends so many requests that no budget counts, and leaves without closing the ledger.
``note_until_killed`` does so for ever, prints each request before it begins and after it has ended, and "looked" after
each look at the record.
"""

import sys
import time
from itertools import count
from pathlib import Path

import anyio

from copilot_asgi.budgets import parse_budget
from copilot_asgi.errors import BudgetExceeded
from copilot_asgi.ledger import Claim, Reservation
from copilot_asgi.ledger.sqlite import SqliteLedger
from copilot_asgi.pricing import NANO, Usage

AT_ONCE = 5


def entry(id: str) -> Reservation:
    return Reservation(id=id, caller="c", account="a", model="m", at=time.time(), nano_credits=NANO)


async def spend(path: Path, name: str, times: int, budget: str) -> None:
    ledger = SqliteLedger(path)
    passed = 0

    async def some(first: int) -> None:
        nonlocal passed
        for number in range(first, times, AT_ONCE):
            one = entry(f"{name}-{number}")
            try:
                await ledger.reserve(one, [Claim(parse_budget(budget))])
            except BudgetExceeded:
                continue
            passed += 1
            await ledger.settle(one, Usage(output=1, nano_credits=NANO))

    async with anyio.create_task_group() as group:
        for first in range(AT_ONCE):
            group.start_soon(some, first)
    await ledger.close()
    print(passed)


async def until_killed(path: Path, name: str) -> None:
    ledger = SqliteLedger(path)

    async def some(first: int) -> None:
        number = first
        while True:
            one = entry(f"{name}-{number}")
            print("begun", one.id, flush=True)
            await ledger.reserve(one, [])
            await ledger.settle(one, Usage(output=1, nano_credits=NANO))
            print("settled", one.id, flush=True)
            number += AT_ONCE

    async with anyio.create_task_group() as group:
        for first in range(AT_ONCE):
            group.start_soon(some, first)


async def note(path: Path, name: str, times: int) -> None:
    ledger = SqliteLedger(path)
    for number in range(times):
        one = entry(f"{name}-{number}")
        ledger.begin(one)
        if number % 50 == 0:
            await ledger.unsettled()
        ledger.end(one, Usage(output=1, nano_credits=NANO))
    print("done")


async def note_until_killed(path: Path, name: str) -> None:
    ledger = SqliteLedger(path)
    for number in count():
        one = entry(f"{name}-{number}")
        print("begins", one.id, flush=True)
        ledger.begin(one)
        await anyio.sleep(0)
        ledger.end(one, Usage(output=1, nano_credits=NANO))
        print("ended", one.id, flush=True)
        if number % 20 == 0:
            await ledger.unsettled()
            print("looked", flush=True)


match sys.argv[1]:
    case "spend":
        anyio.run(spend, Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
    case "until_killed":
        anyio.run(until_killed, Path(sys.argv[2]), sys.argv[3])
    case "note":
        anyio.run(note, Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    case "note_until_killed":
        anyio.run(note_until_killed, Path(sys.argv[2]), sys.argv[3])
