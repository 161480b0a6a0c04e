"""Images, files and recordings of the assistant's, in histories for upstreams that let only users show them.

Rule: they move to the turn behind the assistant's and are the user's there; nothing is lost, and their order stays.
"""

from collections.abc import Iterable, Iterator

from copilot_asgi.translate.conversation import Audio, Document, Image, Role, Turn

__all__ = ["shown_by_user"]

_MEDIA = (Audio, Document, Image)


def shown_by_user(turns: Iterable[Turn]) -> Iterator[Turn]:
    """The turns, in which only users show media; some may be without parts."""
    for turn in turns:
        if turn.role is not Role.ASSISTANT:
            yield turn
            continue
        yield Turn(Role.ASSISTANT, tuple(part for part in turn.parts if not isinstance(part, _MEDIA)))
        yield Turn(Role.USER, tuple(part for part in turn.parts if isinstance(part, _MEDIA)))
