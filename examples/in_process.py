"""The OpenAI SDK over the app itself: the same pipeline, without a server and without a socket.

Run it:  python in_process.py "Why is the sky blue?"
"""

import asyncio
import sys

from openai import AsyncOpenAI

from copilot_asgi import CopilotApp


async def main(question: str) -> None:
    """Stream one answer to the terminal."""
    async with CopilotApp() as copilot, copilot.client() as client:
        openai = AsyncOpenAI(base_url="http://localhost/v1", api_key="unused", http_client=client)
        stream = await openai.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": question}], stream=True
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                print(chunk.choices[0].delta.content, end="", flush=True)
        print()


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "Say hello."))
