"""The routes under ``/_simulator/``, for tests and for people whose simulator runs in another process.

Rule: whatever a test can do to a ``Simulator`` object it can also do here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from copilot_asgi.simulator.access import Object, string
from copilot_asgi.simulator.answers import Answer, Incoming, json_answer
from copilot_asgi.simulator.faults import FAULTS
from copilot_asgi.simulator.script import Fault, Reply

if TYPE_CHECKING:
    from copilot_asgi.simulator.app import Simulator

__all__ = ["PREFIX", "answer_control"]

PREFIX = "/_simulator/"


class ScriptLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reply, or one fault by its fields or its name; with ``path`` it is for that path, otherwise for models."""

    reply: Reply | None = None
    fault: Fault | str | None = None
    path: str | None = None


def answer_control(simulator: "Simulator", request: Incoming) -> Answer:
    """Answer one control request."""
    name = f"{request.method} {request.path.removeprefix(PREFIX)}"
    route = _ROUTES.get(name)
    return (
        json_answer({"error": f"no control route {name!r}"}, status=404) if route is None else route(simulator, request)
    )


def _requests(simulator: "Simulator", _: Incoming) -> Answer:
    return json_answer([_shown(msgspec.structs.asdict(seen)) for seen in simulator.requests])


def _violations(simulator: "Simulator", _: Incoming) -> Answer:
    return json_answer(simulator.violations)


def _approve(simulator: "Simulator", request: Incoming) -> Answer:
    return json_answer({"decided": simulator.approve(string(request.fields.get("user_code")) or None)})


def _deny(simulator: "Simulator", request: Incoming) -> Answer:
    return json_answer({"decided": simulator.deny(string(request.fields.get("user_code")) or None)})


def _sign_in(simulator: "Simulator", request: Incoming) -> Answer:
    return json_answer({"token": simulator.sign_in(string(request.fields.get("login")) or "octocat")})


def _expire(simulator: "Simulator", _: Incoming) -> Answer:
    simulator.expire_copilot_tokens()
    return json_answer({})


def _revoke(simulator: "Simulator", _: Incoming) -> Answer:
    simulator.revoke_github_tokens()
    return json_answer({})


def _reset(simulator: "Simulator", _: Incoming) -> Answer:
    simulator.reset()
    return json_answer({})


def _shown(seen: Object) -> Object:
    body = seen["body"]
    return seen | {"body": body.decode("utf-8", "replace") if isinstance(body, bytes) else body}


def _ledger(simulator: "Simulator", _: Incoming) -> Answer:
    ledger = simulator.ledger
    answer: Object = {
        "premium_requests": ledger.premium_requests,
        "nano_aiu": ledger.nano_aiu,
        "charges": ledger.charges,
        "exchanges": simulator.exchanges,
        "open_streams": simulator.open_streams,
        "disconnects": simulator.disconnects,
    }
    return json_answer(answer)


def _script(simulator: "Simulator", request: Incoming) -> Answer:
    try:
        lines = msgspec.json.decode(request.body, type=list[ScriptLine])
        for line in lines:
            _order(simulator, line)
    except (msgspec.ValidationError, msgspec.DecodeError, KeyError) as error:
        return json_answer({"error": str(error)}, status=400)
    return json_answer({"lines": len(lines)})


def _order(simulator: "Simulator", line: ScriptLine) -> None:
    fault = FAULTS[line.fault] if isinstance(line.fault, str) else line.fault
    if line.path is not None and fault is not None:
        simulator.fail(line.path, fault)
    elif line.reply is not None:
        reply = line.reply if fault is None else msgspec.structs.replace(line.reply, fault=fault)
        simulator.enqueue(reply)
    elif fault is not None:
        simulator.enqueue(fault)
    else:
        raise msgspec.ValidationError("a line needs a reply or a fault")


_ROUTES: dict[str, Callable[["Simulator", Incoming], Answer]] = {
    "GET requests": _requests,
    "GET violations": _violations,
    "GET ledger": _ledger,
    "POST approve": _approve,
    "POST deny": _deny,
    "POST script": _script,
    "POST sign_in": _sign_in,
    "POST expire_copilot_tokens": _expire,
    "POST revoke_github_tokens": _revoke,
    "POST reset": _reset,
}
