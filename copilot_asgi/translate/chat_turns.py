"""The turns of a conversation as the ``messages`` of a chat request.

Rule: behind an assistant's calls come exactly their results, as text; pictures and files in results follow in a user
message that says where they come from. Thinking goes back to Copilot's chat or nowhere, and never into the text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.errors import TranslationError
from copilot_asgi.translate.conversation import (
    TOOL_ERROR,
    Audio,
    Conversation,
    Document,
    Image,
    Loss,
    Part,
    Refusal,
    Role,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from copilot_asgi.translate.ids import ToolNames, tool_id
from copilot_asgi.translate.media import data_url, image_type
from copilot_asgi.translate.schema import freeform_arguments
from copilot_asgi.wire.models import Model

__all__ = ["Messages", "render_messages"]

_Message = dict[str, object]

_CONTINUE = "Continue your previous message exactly where it ended, without repeating any of it."
_LIFTED = "[{kind}: shown in the next message]"
_LIFTED_FROM = "{kind} from the result of the tool call {id}:"
_NOTHING_SAID = "."  # no upstream takes a message without text
_BREAKPOINT: Mapping[str, str] = MappingProxyType({"type": "ephemeral"})
_BREAKPOINTS = 4
_RECENT = 2  # messages at the end that are worth a breakpoint


class Messages(msgspec.Struct, frozen=True):
    """``listed`` is ready to be encoded. ``resumes_thinking`` is False when the model is in the middle of a tool loop
    and its thoughts of before are gone.
    """

    listed: list[_Message]
    losses: tuple[Loss, ...]
    resumes_thinking: bool


def render_messages(
    conversation: Conversation, turns: tuple[Turn, ...], *, names: ToolNames, model: Model, is_claude: bool
) -> Messages:
    """The messages for ``turns``, which must be paired. Raises ``TranslationError`` for files that cannot be sent."""
    writer = _Writer(names, model, plain_text=is_claude)
    if conversation.system:
        writer.add(Turn(Role.SYSTEM, conversation.system))
    for turn in turns:
        writer.add(turn)
    writer.close()
    if is_claude:
        _mark(writer.messages, writer.cached)
    return Messages(writer.messages, tuple(dict.fromkeys(writer.losses)), _resumes_thinking(writer.messages))


class _Writer:
    def __init__(self, names: ToolNames, model: Model, *, plain_text: bool) -> None:
        self.messages: list[_Message] = []
        self.cached: list[int] = []
        self.losses: list[Loss] = []
        self._names = names
        self._model = model
        self._plain_text = plain_text
        self._carried: list[Part] = []

    def add(self, turn: Turn) -> None:
        """Write one turn."""
        match turn.role:
            case Role.SYSTEM:
                text = "\n\n".join(part.text for part in turn.parts if isinstance(part, Text) and part.text)
                self._put({"role": "system", "content": text} if text else None, turn.parts)
            case Role.ASSISTANT:
                self._put(self._assistant(turn.parts), turn.parts)
            case _:
                self._user(turn.parts)

    def close(self) -> None:
        """Write what must stand behind the last turn: chat models begin a new message, they do not complete one."""
        if self._carried:
            self._user(())
        if self.messages and self.messages[-1]["role"] == "assistant":
            self.losses.append(Loss("messages.prefill", matters=True))
            self.messages.append({"role": "user", "content": _CONTINUE})

    def _put(self, message: _Message | None, parts: Iterable[Part]) -> None:
        if message is None:
            return
        if any(getattr(part, "cached", False) for part in parts):
            self.cached.append(len(self.messages))
        self.messages.append(message)

    def _assistant(self, parts: tuple[Part, ...]) -> _Message | None:
        self._carried += [part for part in parts if isinstance(part, Image | Document | Audio)]
        calls = [self._call(part) for part in parts if isinstance(part, ToolCall)]
        content = self._said(parts)
        if not content and not calls:
            return None
        message: _Message = {"role": "assistant", "content": content or None, **self._thought(parts)}
        return {**message, "tool_calls": calls} if calls else message

    def _said(self, parts: tuple[Part, ...]) -> object:
        refusals = [part.text for part in parts if isinstance(part, Refusal)]
        if refusals and not self._plain_text:
            said = [part for part in parts if isinstance(part, Text | Refusal) and part.text]
            return [self._part(part) for part in said]
        return "".join(part.text for part in parts if isinstance(part, Text | Refusal))

    def _thought(self, parts: tuple[Part, ...]) -> _Message:
        thoughts = [part for part in parts if isinstance(part, Thinking)]
        seals = [part.seal for part in thoughts if part.seal and part.seal.origin is SealOrigin.CHAT]
        # A seal of the turn may have come after its text, as a part of its own: they go back together.
        own = [part for part in thoughts if part.seal in seals or (seals and part.seal is None)]
        if len(own) < len(thoughts):
            self.losses.append(Loss("thinking", matters=False))
        text = "\n\n".join(part.text for part in own if part.text)
        opaque = seals[-1].data if seals else ""
        message = {"reasoning_text": text, "reasoning_opaque": opaque}
        return {name: value for name, value in message.items() if value}

    def _call(self, call: ToolCall) -> _Message:
        arguments = freeform_arguments(call.arguments) if call.freeform else call.arguments
        function = {"name": self._names.to_upstream(call.name), "arguments": arguments if arguments.strip() else "{}"}
        return {"id": tool_id(call.id), "type": "function", "function": function}

    def _user(self, parts: tuple[Part, ...]) -> None:
        shown = list(self._carried)
        self._carried.clear()
        results = [part for part in parts if isinstance(part, ToolResult)]
        for result in results:
            self._put(_tool_message(result), (result,))
            shown += _lifted(result)
        rest = [*shown, *(part for part in parts if not isinstance(part, ToolResult))]
        said = [part for part in rest if part not in (Text(""), Text("", cached=True))]
        if said or not results:
            self._put({"role": "user", "content": self._content(said or [Text(_NOTHING_SAID)])}, rest)

    def _content(self, parts: list[Part]) -> object:
        if len(parts) == 1 and isinstance(parts[0], Text):
            return parts[0].text
        return [self._part(part) for part in parts]

    def _part(self, part: Part) -> _Message:
        write = _PARTS.get(type(part))
        if write is None:
            raise TranslationError("A user message holds what only a model can say.", param="messages")
        if isinstance(part, Document):
            self._refuse_unless_readable(part)
        return write(part)

    def _refuse_unless_readable(self, document: Document) -> None:
        if document.url:
            raise TranslationError(
                "This model cannot fetch files; send the content of the file itself.", param="messages"
            )
        if self._model.supports.vision is False:
            raise TranslationError("This model cannot read files; send their text.", param="messages")


def _tool_message(result: ToolResult) -> _Message:
    texts = [part.text if isinstance(part, Text) else _LIFTED.format(kind=_kind(part).lower()) for part in result.parts]
    text = (TOOL_ERROR if result.is_error else "") + "\n".join(texts)
    return {"role": "tool", "tool_call_id": tool_id(result.call_id), "content": text}


def _lifted(result: ToolResult) -> Iterator[Part]:
    """What a tool message cannot hold; the words before it keep one result's pictures apart from another's."""
    for part in result.parts:
        if not isinstance(part, Text):
            yield Text(_LIFTED_FROM.format(kind=_kind(part), id=tool_id(result.call_id)))
            yield part


def _kind(part: Image | Document) -> str:
    return "Image" if isinstance(part, Image) else "File"


def _image(image: Image) -> _Message:
    url = image.url or data_url(image_type(image.media_type, image.data), image.data)
    return {"type": "image_url", "image_url": {"url": url, **({"detail": image.detail} if image.detail else {})}}


def _document(document: Document) -> _Message:
    data = data_url(document.media_type or "application/pdf", document.data)
    return {"type": "file", "file": {"filename": document.name or "document.pdf", "file_data": data}}


def _audio(audio: Audio) -> _Message:
    return {"type": "input_audio", "input_audio": {"data": audio.data, "format": audio.format}}


_PARTS: Mapping[type, Callable[..., _Message]] = MappingProxyType(
    {
        Text: lambda part: {"type": "text", "text": part.text},
        Refusal: lambda part: {"type": "refusal", "refusal": part.text},
        Image: _image,
        Document: _document,
        Audio: _audio,
    }
)


def _mark(messages: list[_Message], cached: list[int]) -> None:
    """Breakpoints for Claude's prompt cache: where the client put them, else where they help most.

    Nothing is cached without one. The last ones hold the longest prefix; an instruction's serves other conversations.
    """
    chosen = cached
    if not chosen:
        spoken = [number for number, message in enumerate(messages) if message["role"] != "system"]
        leading = [0] if messages and messages[0]["role"] == "system" else []
        chosen = [*leading, *spoken[-_RECENT:]]
    first = [number for number in chosen[:1] if messages[number]["role"] == "system"]
    for number in {*first, *chosen[len(first) :][len(first) - _BREAKPOINTS :]}:
        messages[number]["copilot_cache_control"] = dict(_BREAKPOINT)


def _resumes_thinking(messages: list[_Message]) -> bool:
    """Anthropic's rule: a model that thinks by a budget must find its thoughts before the calls it made last."""
    if not messages or messages[-1]["role"] != "tool":
        return True
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), {})
    return "reasoning_opaque" in last
