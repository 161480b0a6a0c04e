"""From an accepted model request to the answer and its fault: the script first, then the conversation.

Rule: a script is used up only by requests that kept the rules; an answer is charged when it begins with 200.
"""

from collections import deque
from collections.abc import Callable

import msgspec

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.answers import Answer, json_answer
from copilot_asgi.simulator.catalog import Family, Model
from copilot_asgi.simulator.completion import Completion, PromptCache, capped
from copilot_asgi.simulator.conversation import converse, with_directives
from copilot_asgi.simulator.endpoints import Endpoint
from copilot_asgi.simulator.issued import Issued
from copilot_asgi.simulator.ledger import Charge, Ledger, copilot_usage
from copilot_asgi.simulator.rules import Call
from copilot_asgi.simulator.script import Fault, Finish, Quirk, Reply
from copilot_asgi.simulator.sender import split_bytes

__all__ = ["Completer", "Played", "answer_of"]

NO_FAULT = Fault()
EVENT_STREAM = (("content-type", "text/event-stream"), ("cache-control", "no-cache"))


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, what befalls it, and how its dialect writes an error into a stream."""

    answer: Answer
    fault: Fault = NO_FAULT
    error_event: Callable[[Object | None], bytes]


class Completer:
    """Makes answers, and knows the script."""

    def __init__(self, *, issued: Issued, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._issued = issued
        self._ledger = ledger
        self._clock = clock
        self._cache = PromptCache()
        self.script: deque[Reply | Fault] = deque()

    def clear(self) -> None:
        """Forget the script and what the models have read."""
        self.script.clear()
        self._cache = PromptCache()

    def complete(self, endpoint: Endpoint, call: Call, *, fault: Fault | None, discount: float = 0.0) -> Played:
        """The answer to a request that kept the rules; ``fault`` was ordered for its path."""
        reply, befalls = self._next(call)
        fault = fault or befalls
        if fault.status is not None:
            return Played(answer=answer_of(fault), fault=fault, error_event=endpoint.error_event)
        answer = self._completion(endpoint, call, reply)
        self._charge(call, answer, discount)
        headers = self._ledger.headers(call.login)
        if not call.prompt.stream:
            whole = json_answer(msgspec.Raw(endpoint.body(answer)), headers=headers)
            return Played(answer=whole, fault=fault, error_event=endpoint.error_event)
        events = split_bytes(endpoint.stream(answer), answer.quirks)
        streamed = Answer(status=200, headers=(*EVENT_STREAM, *headers), events=events, pause=reply.delay)
        return Played(answer=streamed, fault=fault, error_event=endpoint.error_event)

    def _next(self, call: Call) -> tuple[Reply, Fault]:
        scripted = self.script.popleft() if self.script else None
        if isinstance(scripted, Reply):
            return scripted, scripted.fault or NO_FAULT
        reply = with_directives(converse(call.prompt, call.model), call.prompt)
        return reply, scripted or reply.fault or NO_FAULT

    def _completion(self, endpoint: Endpoint, call: Call, reply: Reply) -> Completion:
        reply, usage = capped(reply, call.prompt, self._cache.split(call.prompt, call.model, call.login))
        family = frozenset[Quirk]() if reply.plain else endpoint.quirks(call.model)
        return Completion(
            model=call.model,
            reply=reply,
            usage=usage,
            prompt=call.prompt,
            issued=self._issued,
            quirks=family | reply.quirks | _spent_cap(reply, call.model),
            created=int(self._clock()),
            login=call.login,
            copilot_usage=copilot_usage(call.model, usage),
            snapshots=self._ledger.stream_snapshots(call.login),
            request=call.fields,
        )

    def _charge(self, call: Call, answer: Completion, discount: float) -> None:
        initiator = call.request.header("x-initiator")
        premium = 0.0 if initiator == "agent" else call.model.multiplier * (1 - discount)
        charge = Charge(
            request_id=call.request.header("x-request-id"),
            login=call.login,
            path=call.request.path,
            model=call.model.id,
            initiator=initiator,
            interaction=call.request.header("x-interaction-id"),
            premium=round(premium, 6),
            nano_aiu=call.model.prices.nano_aiu(answer.usage),
            usage=answer.usage,
        )
        self._ledger.charge(charge)


def _spent_cap(reply: Reply, model: Model) -> frozenset[Quirk]:
    """Claude whose thoughts used up the cap answers on chat without any choice."""
    spent = model.family is Family.CLAUDE and reply.finish is Finish.LENGTH and reply.reasoning and not reply.text
    return frozenset({Quirk.EMPTY_CHOICES}) if spent else frozenset()


def answer_of(fault: Fault) -> Answer:
    """The answer that a fault with a status is."""
    return Answer(status=fault.status or 500, headers=fault.headers, body=fault.body.encode())
