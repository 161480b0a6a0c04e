"""Which models a caller may use. Pure."""

from fnmatch import fnmatchcase

from copilot_asgi.exchange import Caller

__all__ = ["permitted"]


def permitted(caller: Caller | None, model_id: str) -> bool:
    """Whether ``caller`` may use the model whose id in the catalog is ``model_id``; case does not matter.

    Ask with the id that was resolved, never with the name that the client sent: that one has many spellings.
    """
    if caller is None or not caller.models:
        return True
    return any(fnmatchcase(model_id.lower(), pattern.lower()) for pattern in caller.models)
