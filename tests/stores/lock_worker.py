"""One of many processes: take the lock, and pay only if nobody has paid yet. Started by a test."""

import sys
from pathlib import Path

import anyio

from copilot_asgi.stores.file import FileStore


async def main(directory: Path, name: str) -> None:
    store = FileStore(directory)
    (directory.parent / f"ready-{name}").touch()
    while not (directory.parent / "go").exists():
        await anyio.sleep(0.005)
    async with store.lock("token"):
        if await store.get("token") is None:
            (directory.parent / f"paid-{name}").touch()
            await anyio.sleep(0.05)
            await store.set("token", name.encode())


anyio.run(main, Path(sys.argv[1]), sys.argv[2])
