"""A process that spends: so many requests through an app of its own, on a ledger that all share.

Run as ``python spender.py REQUESTS CONCURRENCY`` with the app's settings in the environment. Says "ready", waits for a
line on stdin, and at the end says how many requests were answered. On SIGTERM it begins no more of them.
"""

import signal
import sys

import anyio

from copilot_asgi import CopilotApp

BODY = {"model": "claude-sonnet-4.6", "messages": [{"role": "user", "content": "hello"}]}


async def main(requests: int, concurrency: int) -> None:
    answered = 0
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))
    left = iter(range(requests))
    app = CopilotApp()

    async def spend() -> None:
        nonlocal answered
        for number in left:
            if asked_to_end:
                break
            body = {**BODY, "stream": number % 2 == 0}
            response = await client.post("/v1/chat/completions", json=body)
            assert response.status_code == 200, response.text
            answered += 1

    async with app, app.client() as client:
        await client.get("/v1/models")
        print("ready", flush=True)
        sys.stdin.readline()
        async with anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(spend)
    print(answered, flush=True)


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]))
