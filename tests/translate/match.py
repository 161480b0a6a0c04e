"""Does what was translated satisfy what a vector expects?

Rule: what a vector does not mention is free; what formats allow to be written in several ways is brought into one form
(``normal_forms``) on both sides first. Operators and placeholders of expectations:

``null`` null or missing; ``"*"`` anything but null and ""; ``"*x"`` the same, and equal wherever the same label stands,
different where labels differ; ``{"$absent": true}`` missing or null; ``{"$eq": v}`` exactly; ``{"$json": v}`` a string
that is this JSON; ``$contains``, ``$regex`` a string; ``$type`` object, array, string, number, boolean; ``$includes``
an array with these in this order; ``$oneOf``, ``$all``, ``$not``; ``{"$reject": {"status", "body"}}`` a refusal;
``"optional": true`` on an event that may be missing.
"""

import json
import re

from normal_forms import normal_request, normal_stream

__all__ = ["Mismatch", "check", "satisfies"]

LABEL = re.compile(r"\*[a-z0-9]*")
TERMINAL = {"response.completed", "response.incomplete", "response.failed", "error"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "number": (int, float)}


class Mismatch(AssertionError):
    """The first place where it does not fit."""


def check(vector: dict, actual: object) -> None:
    """Raises ``Mismatch`` unless ``actual`` is what ``vector`` expects.

    ``actual`` is a body, a list of events ``{"event", "data"}``, or ``{"status", "body"}`` for a refusal.
    """
    expected, dialect = vector["expect"], vector["to"]
    if "$reject" in expected:
        compare(expected["$reject"], actual, {}, "$")
    elif vector["kind"] == "request":
        compare(normal_request(dialect, expected), normal_request(dialect, actual), {}, "$")
    elif vector["kind"] == "response":
        compare(expected, actual, {}, "$")
    else:
        check_framing(dialect, actual)
        reasoning = "reasoning_" in json.dumps(expected)
        compare_events(
            normal_stream(dialect, expected, reasoning=reasoning), normal_stream(dialect, actual, reasoning=reasoning)
        )


def satisfies(expected: object, actual: object, labels: dict[str, object], where: str = "$") -> bool:
    """Whether ``actual`` fits; ``labels`` grows only if it does."""
    trial = dict(labels)
    try:
        compare(expected, actual, trial, where)
    except Mismatch:
        return False
    labels.update(trial)
    return True


def compare(expected: object, actual: object, labels: dict[str, object], where: str) -> None:
    """Raises ``Mismatch`` at the first place where ``actual`` does not fit."""
    match expected:
        case str() if LABEL.fullmatch(expected):
            compare_label(expected, actual, labels, where)
        case dict() if any(key.startswith("$") for key in expected):
            ((operator, argument),) = expected.items()
            require(OPERATORS[operator](argument, actual, labels, where), where, expected, actual)
        case dict():
            require(isinstance(actual, dict), where, expected, actual)
            for key, value in expected.items():
                if key in actual or not may_be_missing(value):
                    require(key in actual, f"{where}.{key}", value, "nothing")
                    compare(value, actual[key], labels, f"{where}.{key}")
        case list():
            require(isinstance(actual, list) and len(actual) == len(expected), where, expected, actual)
            for number, (value, other) in enumerate(zip(expected, actual, strict=True)):
                compare(value, other, labels, f"{where}[{number}]")
        case None | bool():
            require(expected is actual, where, expected, actual)
        case _:
            require(not isinstance(actual, bool) and expected == actual, where, expected, actual)


def compare_label(label: str, actual: object, labels: dict[str, object], where: str) -> None:
    require(actual is not None and actual != "", where, "some value", actual)
    if label == "*":
        return
    require(labels.setdefault(label, actual) == actual, where, f"{label} = {labels[label]!r}", actual)
    same = [other for other, value in labels.items() if value == actual and other != label]
    require(not same, where, f"{label} to differ from {same}", actual)


def may_be_missing(value: object) -> bool:
    match value:
        case None | {"$absent": _} | {"$not": _}:
            return True
        case {"$oneOf": choices}:
            return any(may_be_missing(choice) for choice in choices)
    return False


def require(fits: bool, where: str, expected: object, actual: object) -> None:
    if not fits:
        raise Mismatch(f"{where}: expected {expected!r}, got {actual!r}")


def is_json(argument: object, actual: object, *_: object) -> bool:
    try:
        return isinstance(actual, str) and json.loads(actual) == argument
    except ValueError:
        return False


def has_type(argument: str, actual: object, *_: object) -> bool:
    return isinstance(actual, TYPES[argument]) and (argument == "boolean" or not isinstance(actual, bool))


def includes(argument: list, actual: object, labels: dict[str, object], where: str) -> bool:
    rest = iter(actual if isinstance(actual, list) else ())
    return all(any(satisfies(wanted, candidate, labels, where) for candidate in rest) for wanted in argument)


OPERATORS = {
    "$absent": lambda argument, actual, labels, where: actual is None,
    "$eq": lambda argument, actual, labels, where: actual == argument,
    "$json": is_json,
    "$contains": lambda argument, actual, labels, where: isinstance(actual, str) and argument in actual,
    "$regex": lambda argument, actual, labels, where: isinstance(actual, str) and bool(re.search(argument, actual)),
    "$type": has_type,
    "$includes": includes,
    "$all": lambda argument, actual, labels, where: all(satisfies(each, actual, labels, where) for each in argument),
    "$oneOf": lambda argument, actual, labels, where: any(satisfies(each, actual, labels, where) for each in argument),
    "$not": lambda argument, actual, labels, where: not satisfies(argument, actual, dict(labels), where),
}


def compare_events(expected: list[dict], actual: list[dict]) -> None:
    labels: dict[str, object] = {}
    rest = list(actual)
    for wanted in expected:
        plain = {key: value for key, value in wanted.items() if key != "optional"}
        if rest and satisfies(plain, rest[0], labels, "event"):
            rest.pop(0)
        elif not wanted.get("optional"):
            require(bool(rest), "events", plain, "the end")
            compare(plain, rest[0], labels, f"event {len(actual) - len(rest)}")
            raise Mismatch("unreachable: the same comparison just failed")
    require(not rest, "events", "the end", rest[:1])


def check_framing(dialect: str, events: list[dict]) -> None:
    """What the raw stream must keep to, whatever a vector says."""
    if dialect == "chat":
        require(all(event.get("event") in {None, "message"} for event in events), "events", "no names", events)
        return
    for event in events:
        require(event.get("event") == event["data"].get("type"), "event", event["data"].get("type"), event.get("event"))
    if dialect == "responses":
        kinds = [event["data"]["type"] for event in events]
        numbers = [event["data"].get("sequence_number") for event in events]
        require(numbers == list(range(len(events))), "sequence_number", "0, 1, 2", numbers)
        require(kinds[:1] == ["response.created"], "first event", "response.created", kinds[:1])
        require(not TERMINAL & set(kinds[:-1]), "events", "nothing behind the terminal one", kinds)
