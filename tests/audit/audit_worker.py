"""Writes entries from a process of its own: ``python audit_worker.py PATH NAME COUNT MAX_BYTES``."""

import sys
from functools import partial
from pathlib import Path

import anyio
from entries import entry

from copilot_asgi.audit.file import FileSink


async def main(path: Path, name: str, count: int, max_bytes: int) -> None:
    sink = FileSink(path, max_bytes=max_bytes, backups=1000)
    for number in range(0, count, 4):
        async with anyio.create_task_group() as tasks:
            for each in range(number, number + 4):
                tasks.start_soon(sink.write, entry(id=f"{name}-{each}"))
    sink.close()


if __name__ == "__main__":
    anyio.run(partial(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
