"""The items of a Responses request as turns of a conversation.

Rule: order is kept, what one speaker says in a row is one turn, and an item that we do not know is refused: leaving it
out would be an answer to another question.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import BadRequest
from copilot_asgi.translate.conversation import (
    Loss,
    Part,
    Role,
    Seal,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.responses_fields import decoded, sound
from copilot_asgi.translate.responses_parts import Content, plain_parts, result_parts
from copilot_asgi.translate.responses_tools import in_namespace
from copilot_asgi.translate.seals import unwrap
from copilot_asgi.wire.shallow import NULL, is_null

__all__ = ["History", "read_items"]

_ROLES: Mapping[str | None, Role] = MappingProxyType(
    {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM, "developer": Role.SYSTEM}
)
# Why an item cannot be sent to a model of another dialect.
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "item_reference": "points to an item that nobody kept: send the item itself",
        "compaction": "holds a history that is sealed for another provider: start a new conversation",
        "computer_call": "belongs to a tool that this model does not have",
        "computer_call_output": "belongs to a tool that this model does not have",
    }
)
# Calls of hosted tools, which were answered where they were made. A model elsewhere would take them for its own.
_LOST = frozenset(
    {
        "code_interpreter_call",
        "compaction_trigger",
        "file_search_call",
        "image_generation_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "tool_search_call",
        "web_search_call",
    }
)


class _Item(msgspec.Struct):
    type: str | None = None
    role: str | None = None


class _Message(msgspec.Struct):
    content: Content = None


class _Call(msgspec.Struct):
    name: str
    call_id: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None


class _LocalCall(msgspec.Struct):
    call_id: str | None = None
    action: msgspec.Raw = NULL
    operation: msgspec.Raw = NULL


class _Output(msgspec.Struct):
    call_id: str | None = None
    output: Content = None


class _LocalOutput(msgspec.Struct):
    call_id: str | None = None
    id: str | None = None
    output: msgspec.Raw = NULL


class _Summary(msgspec.Struct):
    text: str = ""


class _Reasoning(msgspec.Struct):
    id: str | None = None
    summary: list[_Summary] | None = None
    content: list[_Summary] | None = None
    encrypted_content: str | None = None


class _Tools(msgspec.Struct):
    tools: list[msgspec.Raw] | None = None


class History:
    """What the items said: ``system`` before anything else, turns, tools and settings brought along, and losses."""

    def __init__(self) -> None:
        self.system: list[Text] = []
        self.tools: list[msgspec.Raw] = []
        self.updates: list[msgspec.Raw] = []
        self.losses: list[Loss] = []
        self._turns: list[tuple[Role, list[Part]]] = []

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns so far."""
        return tuple(Turn(role, tuple(parts)) for role, parts in self._turns)

    def say(self, role: Role, parts: Iterable[Part]) -> None:
        """Add to what ``role`` is saying."""
        added = list(parts)
        if added and self._turns and self._turns[-1][0] is role:
            self._turns[-1][1].extend(added)
        elif added:
            self._turns.append((role, added))

    @property
    def has_begun(self) -> bool:
        """Whether anybody has spoken; what the system says before that is the instructions'."""
        return bool(self._turns)


def read_items(values: Iterable[msgspec.Raw]) -> History:
    """All items. Raises ``BadRequest`` naming the type and the place of one that cannot be served."""
    history = History()
    for index, value in enumerate(values):
        where = f"input[{index}]"
        item = decoded(value, _Item, param=where)
        kind = item.type or "message"
        read = _READERS.get(kind)
        if read is not None:
            read(history, value, where)
        elif kind in _LOST:
            history.losses.append(Loss(f"input.{kind}", matters=True))
        else:
            reason = _REFUSED.get(kind, "is of a type that is not supported")
            raise BadRequest(f"Input item {index} ({kind}) {reason}.", code="unsupported_value", param=where)
    return history


def _message(history: History, value: msgspec.Raw, where: str) -> None:
    role = _ROLES.get(decoded(value, _Item, param=where).role)
    if role is None:
        raise BadRequest("A message needs a known role.", code="invalid_value", param=f"{where}.role")
    parts = plain_parts(decoded(value, _Message, param=where).content, where=f"{where}.content")
    if role is not Role.SYSTEM:
        history.say(role, parts)
        return
    texts = [part for part in parts if isinstance(part, Text)]
    history.losses += [Loss("input.system.content", matters=True)] * (len(texts) < len(parts))
    if history.has_begun:
        history.say(role, texts)
    else:
        history.system += texts


def _call(history: History, value: msgspec.Raw, where: str) -> None:
    call = decoded(value, _Call, param=where)
    name = in_namespace(call.namespace, call.name)
    history.say(Role.ASSISTANT, [ToolCall(call.call_id or "", name, call.arguments or "")])


def _custom_call(history: History, value: msgspec.Raw, where: str) -> None:
    call = decoded(value, _Call, param=where)
    name = in_namespace(call.namespace, call.name)
    history.say(Role.ASSISTANT, [ToolCall(call.call_id or "", name, call.input or "", freeform=True)])


def _output(history: History, value: msgspec.Raw, where: str) -> None:
    output = decoded(value, _Output, param=where)
    parts, is_error = result_parts(output.output, where=f"{where}.output")
    history.say(Role.USER, [ToolResult(output.call_id or "", parts, is_error)])


def _local_call(history: History, value: msgspec.Raw, where: str) -> None:
    """A call that the client ran itself: its action stands for arguments."""
    call = decoded(value, _LocalCall, param=where)
    action = call.operation if is_null(call.action) else call.action
    name = (decoded(value, _Item, param=where).type or "").removesuffix("_call")
    arguments = "" if is_null(action) else sound(action, param=where).decode()
    history.say(Role.ASSISTANT, [ToolCall(call.call_id or "", name, arguments)])


def _local_output(history: History, value: msgspec.Raw, where: str) -> None:
    output = decoded(value, _LocalOutput, param=where)
    result = output.output
    given: object = "" if is_null(result) else decoded(result, object, param=f"{where}.output")
    text = given if isinstance(given, str) else bytes(result).decode()
    history.say(Role.USER, [ToolResult(output.call_id or output.id or "", (Text(text),) if text else ())])


def _reasoning(history: History, value: msgspec.Raw, where: str) -> None:
    item = decoded(value, _Reasoning, param=where)
    text = "\n\n".join(part.text for part in item.summary or item.content or ())
    sealed = item.encrypted_content or ""
    seal, bound = unwrap(sealed) or (Seal(SealOrigin.RESPONSES, sealed, id=item.id or "") if sealed else None, "")
    if text or seal:
        history.say(Role.ASSISTANT, [Thinking(bound or text, seal)])


def _tools(history: History, value: msgspec.Raw, where: str) -> None:
    history.tools += decoded(value, _Tools, param=where).tools or []


def _update(history: History, value: msgspec.Raw, where: str) -> None:  # noqa: ARG001  # all readers are called alike
    history.updates.append(value)


_READERS: Mapping[str, Callable[[History, msgspec.Raw, str], None]] = MappingProxyType(
    {
        "message": _message,
        "function_call": _call,
        "function_call_output": _output,
        "custom_tool_call": _custom_call,
        "custom_tool_call_output": _output,
        "reasoning": _reasoning,
        "additional_tools": _tools,
        "tool_search_output": _tools,
        "configuration_update": _update,
        "local_shell_call": _local_call,
        "local_shell_call_output": _local_output,
        "shell_call": _local_call,
        "shell_call_output": _local_output,
        "apply_patch_call": _local_call,
        "apply_patch_call_output": _local_output,
    }
)
