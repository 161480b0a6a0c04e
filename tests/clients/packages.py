"""Which clients are installed, and in which versions.

Rule: versions are pinned, so that a red test is about this project; raising a pin makes the client anew.
"""

__all__ = ["NODE", "PYTHON"]

# The next majors of openai and ai want Node.js 22.
NODE = {
    "openai-node": ("openai@6.49.0",),
    "anthropic-node": ("@anthropic-ai/sdk@1.11.0",),
    "vercel": (
        "ai@6.0.326",
        "@ai-sdk/openai@3.0.141",
        "@ai-sdk/openai-compatible@2.0.87",
        "@ai-sdk/anthropic@3.0.138",
        "zod@4.6.7",
    ),
    "claude-code": ("@anthropic-ai/claude-code@2.1.329",),
    "codex": ("@openai/codex@0.169.0",),
    "opencode": ("opencode-ai@1.18.33",),
}

PYTHON = {
    "langchain": ("langchain-openai==1.7.3", "langchain-anthropic==1.7.7"),
    "pydantic-ai": ("pydantic-ai-slim[openai,anthropic]==2.68.0",),
    "aider": ("aider-chat==0.86.2",),
}
