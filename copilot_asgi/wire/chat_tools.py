"""Which call a fragment of a tool call belongs to, when upstream's own indexes cannot be trusted.

Rule: the same stream always gives the same dense indexes 0, 1, 2, in the order in which the calls began.
"""

import msgspec

from copilot_asgi.wire.chat_shapes import DROP, Changes, ToolCall, ToolFunction
from copilot_asgi.wire.shallow import NOT_JSON

__all__ = ["OpenCall", "OpenCalls"]

_json_decoder = msgspec.json.Decoder(msgspec.Raw)


class OpenCall:
    """A call that has begun."""

    __slots__ = ("arguments", "id", "index", "named")

    def __init__(self, index: int, id: str) -> None:
        self.index = index
        self.id = id
        self.named = False
        self.arguments: list[str] = []

    def is_whole(self) -> bool:
        """Whether the arguments received are one JSON text; none at all are those of a call without any."""
        text = "".join(self.arguments)
        try:
            return not text.strip() or bool(_json_decoder.decode(text))
        except NOT_JSON:
            return False


class OpenCalls:
    """The calls of one answer. A key is upstream's choice index and call index; a new id on it is a new call.

    ``seed`` makes the id of a call that upstream gave none; it may hold letters, digits, ``_`` and ``-`` only.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._by_key: dict[tuple[int, int], OpenCall] = {}
        self._by_id: dict[str, OpenCall] = {}
        self._last: dict[int, OpenCall] = {}
        self._all: list[OpenCall] = []

    def __len__(self) -> int:
        return len(self._all)

    def are_whole(self) -> bool:
        """Whether no call was cut off in its arguments."""
        return all(call.is_whole() for call in self._all)

    def changes(self, fragment: ToolCall, *, choice: int, position: int) -> Changes:
        """What must be changed in ``fragment``: its index, and what clients need first or must not see twice.

        Their libraries join the ids and names of fragments like text, so these may come in the first one only.
        """
        call, begins = self.find(fragment, choice=choice, position=position)
        function = fragment.function or ToolFunction()
        changes: Changes = {} if fragment.index == call.index else {"index": call.index}
        if begins:
            changes |= {} if fragment.id else {"id": call.id}
            changes |= {} if fragment.type else {"type": "function"}
        elif fragment.id:
            changes["id"] = DROP
        if call.named and function.name:
            changes["function"] = {"arguments": function.arguments or ""}
        call.named = call.named or bool(function.name)
        call.arguments.append(function.arguments or "")
        return changes

    def goes_on(self, fragment: ToolCall, *, choice: int) -> bool:
        """Whether ``fragment`` is right and just more arguments of a call, as most are; only then they are noted."""
        function = fragment.function
        if function is None or function.name or fragment.id or fragment.index is None:
            return False
        call = self._by_key.get((choice, fragment.index))
        if call is None or call.index != fragment.index:
            return False
        call.arguments.append(function.arguments or "")
        return True

    def find(self, fragment: ToolCall, *, choice: int, position: int) -> tuple[OpenCall, bool]:
        """The call that ``fragment`` belongs to, and whether it begins with it."""
        key = (choice, position if fragment.index is None else fragment.index)
        call = self._known(fragment, key)
        if call is not None:
            return call, False
        call = OpenCall(len(self._all), fragment.id or f"call_{self._seed}_{len(self._all)}")
        self._by_key[key] = self._last[choice] = call
        self._all.append(call)
        self._by_id[call.id] = call
        return call, True

    def _known(self, fragment: ToolCall, key: tuple[int, int]) -> OpenCall | None:
        if fragment.id and fragment.id in self._by_id:
            return self._by_id[fragment.id]
        if not fragment.id and fragment.index is None and key[0] in self._last:
            return self._last[key[0]]
        call = self._by_key.get(key)
        if call is not None and fragment.id:
            return None  # another id on the same key: a model that calls every call number 0
        return call
