"""The turns of a conversation as the items of a Responses request.

Rule: items stand in the order of the parts. A sealed thought goes back only to the kind of upstream that sealed it,
with the id it was sealed under; thinking is never shown as text. Only users show media.
"""

from collections.abc import Iterable

from copilot_asgi.translate.conversation import (
    Audio,
    Document,
    Image,
    Part,
    Refusal,
    Role,
    Seal,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.ids import ToolNames, tool_id
from copilot_asgi.translate.responses_parts import input_part, result_content

__all__ = ["items_of"]

_Item = dict[str, object]


def items_of(turns: Iterable[Turn], names: ToolNames) -> list[_Item]:
    """The items of ``turns``, in which the assistant shows no media."""
    writer = _Writer(names)
    for turn in turns:
        for part in turn.parts:
            writer.write(turn.role, part)
        writer.end_message()
    return writer.items


class _Writer:
    """Collects items; parts of one message gather until something else comes."""

    def __init__(self, names: ToolNames) -> None:
        self.items: list[_Item] = []
        self._names = names
        self._freeform: set[str] = set()
        self._content: list[_Item] = []
        self._role = Role.USER
        self._phase = ""

    def write(self, role: Role, part: Part) -> None:
        """Add one part that ``role`` says."""
        self._role = role
        match part:
            case ToolCall() | ToolResult():
                self.end_message()
                self.items.append(self._call(part) if isinstance(part, ToolCall) else self._result(part))
            case Thinking(seal=Seal(origin=SealOrigin.RESPONSES) as seal):
                self.end_message()
                self.items.append(_sealed(seal))
                self._phase = seal.phase
            case Thinking():
                pass
            case Text(text) if role is Role.ASSISTANT:
                self._content += [{"type": "output_text", "text": text, "annotations": []}] if text else []
            case Refusal(text) if role is Role.ASSISTANT:
                self._content.append({"type": "refusal", "refusal": text})
            case Refusal(text):
                self._content += _shown(Text(text))
            case _:
                self._content += _shown(part)

    def end_message(self) -> None:
        """Close the message that is being written, if any."""
        if not self._content:
            return
        message: _Item = {"type": "message", "role": _role_word(self._role), "content": self._content}
        if self._role is Role.ASSISTANT:
            # The endpoint wants an id on an answer of its own, and looks at nothing but how it begins.
            message |= {"id": f"msg_{len(self.items)}", "status": "completed"}
            message |= {"phase": self._phase} if self._phase else {}
            self._phase = ""
        self.items.append(message)
        self._content = []

    def _call(self, call: ToolCall) -> _Item:
        head: _Item = {"call_id": tool_id(call.id), "name": self._names.to_upstream(call.name)}
        if call.freeform:
            self._freeform.add(call.id)
            return {"type": "custom_tool_call", **head, "input": call.arguments}
        return {"type": "function_call", **head, "arguments": call.arguments if call.arguments.strip() else "{}"}

    def _result(self, result: ToolResult) -> _Item:
        kind = "custom_tool_call_output" if result.call_id in self._freeform else "function_call_output"
        output = result_content(result.parts, is_error=result.is_error)
        return {"type": kind, "call_id": tool_id(result.call_id), "output": output}


def _shown(part: Text | Image | Document | Audio) -> list[_Item]:
    is_empty = isinstance(part, Text) and not part.text
    return [] if is_empty else [input_part(part)]


def _role_word(role: Role) -> str:
    return "developer" if role is Role.SYSTEM else role.value


def _sealed(seal: Seal) -> _Item:
    item: _Item = {"type": "reasoning", "summary": [], "encrypted_content": seal.data}
    return item | ({"id": seal.id} if seal.id else {})
