"""What a model answers when no script says otherwise: it echoes, calls the tools it is told to, and fits schemas.

Rule: a pure function of the prompt and the model, so that the same request always gets the same answer.
"""

import re

import msgspec

from copilot_asgi.simulator.access import Object
from copilot_asgi.simulator.catalog import Family, Model
from copilot_asgi.simulator.faults import FAULTS
from copilot_asgi.simulator.prompt import Prompt, Tool
from copilot_asgi.simulator.schema import instance, named_values
from copilot_asgi.simulator.script import Fault, Finish, Quirk, Reply

__all__ = ["converse", "with_directives"]

_DIRECTIVE = re.compile(r"\[sim\b([^\]]*)\]")
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_QUOTED = 400


def converse(prompt: Prompt, model: Model) -> Reply:
    """The default answer, before any ``[sim ...]`` directive in the last user text."""
    said = spoken(prompt)
    reasoning = f"The user wrote {len(said.split())} words. I will answer them." if _thinks(prompt, model, said) else ""
    calls = _calls(prompt, said)
    if calls:
        return Reply(text="Let me look.", reasoning=reasoning, tool_calls=calls)
    return Reply(text=_text(prompt, said), reasoning=reasoning)


def spoken(prompt: Prompt) -> str:
    """What the person said last, without directives and without what clients slip in."""
    return _REMINDER.sub("", _DIRECTIVE.sub("", prompt.last_text)).strip()


def with_directives(reply: Reply, prompt: Prompt) -> Reply:
    """``reply``, changed as a ``[sim key=value ...]`` in the last user text asks."""
    match = _DIRECTIVE.search(prompt.last_text)
    if match is None:
        return reply
    given = {key: value or "yes" for key, _, value in (word.partition("=") for word in match[1].split())}
    size = _integer(given, "size") or reply.size
    chunks = _integer(given, "chunks")
    quirks = frozenset(quirk for quirk in Quirk if quirk.value in given.get("quirk", "").split(","))
    return msgspec.structs.replace(
        reply,
        size=size,
        text=reply.text if chunks is None else "".join(f"{index} ".rjust(size, ".")[-size:] for index in range(chunks)),
        reasoning=reply.reasoning or ("The directive asks me to think." if given.get("reasoning") == "yes" else ""),
        delay=float(given.get("delay", reply.delay)),
        finish=next((finish for finish in Finish if finish.value == given.get("finish")), reply.finish),
        quirks=reply.quirks | quirks,
        fault=_fault(given),
    )


def _fault(given: dict[str, str]) -> Fault | None:
    fault = FAULTS.get(given.get("fault", ""), Fault())
    status = _integer(given, "status")
    changed = msgspec.structs.replace(
        fault,
        status=fault.status if status is None else status,
        body=fault.body if status is None else f"simulated status {status}\n",
        cut_after=_integer(given, "cut"),
        hang_after=_integer(given, "hang"),
        error_after=_integer(given, "error"),
        comments=_integer(given, "comments") or 0,
        abort=given.get("abort") == "yes",
    )
    return None if changed == Fault() else changed


def _integer(given: dict[str, str], name: str) -> int | None:
    text = given.get(name, "")
    return int(text) if text.removeprefix("-").isdigit() else None


def _thinks(prompt: Prompt, model: Model, said: str) -> bool:
    if prompt.thinking is not None:
        return prompt.thinking
    by_itself = model.family in {Family.GPT, Family.GEMINI} and bool(model.efforts)
    return by_itself or "think" in said.lower().split()


def _calls(prompt: Prompt, said: str) -> tuple[tuple[str, Object | str], ...]:
    wanted = _wanted_tools(prompt, said)
    values = named_values(said)
    return tuple((tool.name, _arguments(tool, values, said)) for tool in wanted)


def _wanted_tools(prompt: Prompt, said: str) -> list[Tool]:
    """The tools that must be called, or that a person has just named."""
    if prompt.choice == "none" or prompt.results:
        return []
    if prompt.forced:
        return [tool for tool in prompt.tools if tool.name == prompt.forced]
    named = [tool for tool in prompt.tools if _names(tool, said)] if prompt.ends_with_person else []
    if not named and prompt.choice == "required":
        named = list(prompt.tools[:1])
    return named if prompt.parallel else named[:1]


def _names(tool: Tool, said: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(tool.name)}(?![\w-])", said) is not None


def _arguments(tool: Tool, values: dict[str, str], said: str) -> Object | str:
    if tool.freeform:
        return values.get("input", said)
    return instance(tool.schema, values, text=said[:80] or "text")


def _text(prompt: Prompt, said: str) -> str:
    if prompt.schema is not None:
        return msgspec.json.encode(instance(prompt.schema, named_values(said), text=said[:80])).decode()
    seen = prompt.images
    if prompt.results:
        quoted = "; ".join(result[:_QUOTED] for result in prompt.results)
        return f"The tool says: {quoted}" + (f" {_count(seen)}" if seen else "")
    if seen:
        return f"{_count(seen)} You said: {said}"
    return f"You said: {said}"


def _count(images: tuple[str, ...]) -> str:
    noun = "image" if len(images) == 1 else "images"
    return f"I see {len(images)} {noun}: {', '.join(images)}."
