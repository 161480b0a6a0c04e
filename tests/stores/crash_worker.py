"""A process that dies at the n-th system call of a write, without any cleanup. Started by a test."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from copilot_asgi.stores.file import FileStore

CALLS = ("open", "fchmod", "write", "fsync", "close", "replace")


def main(directory: Path, deadly: int) -> None:
    store = FileStore(directory)
    anyio.run(store.get, "login")  # everything is imported and opened before the counting begins
    left = deadly

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return function(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    store._set("login", _envelope(b"new" * 1000))
    os._exit(0)


def _envelope(value: bytes) -> Any:
    from copilot_asgi.stores.file import VERSION, _Envelope

    return _Envelope(VERSION, None, value)


main(Path(sys.argv[1]), int(sys.argv[2]))
