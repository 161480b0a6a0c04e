"""Calls and results of dialects in which ids are optional: each call gets an id, each result that of its call.

Rule: a given id counts; else the name decides, the first call that still waits. The same history always gets the same
ids (and hits the same prompt cache). No id is made for a result alone.
"""

__all__ = ["OpenCalls"]


class OpenCalls:
    """The calls of a conversation so far, in order."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._waiting: list[str] = []
        self._count = 0

    def asked(self, name: str, *, id: str) -> str:
        """The id of the next call; ``id`` is the given one, or empty."""
        self._count += 1
        known = id or f"call_{name}_{self._count}"
        self._names[known] = name
        self._waiting.append(known)
        return known

    def answered(self, name: str, *, id: str) -> str:
        """The id of the call that a result belongs to, empty when none is known."""
        found = id if id in self._names else next((each for each in self._waiting if self._names[each] == name), "")
        return self._no_longer(found)

    def next_answered(self) -> str:
        """The id of the first call that waits, empty when none does."""
        return self._no_longer(self._waiting[0] if self._waiting else "")

    def _no_longer(self, id: str) -> str:
        if id in self._waiting:
            self._waiting.remove(id)
        return id
