"""All checks as a script that runs with any major of the OpenAI SDK and prints a JSON line per check.

Run it:  PYTHONPATH=tests python -m sdk.scenario URL KEYED_URL KEY
Rule: it needs nothing but the SDK, so that an environment with an old one can run it.
"""

import json
import sys
import traceback
from collections.abc import Callable
from functools import partial

import openai
from sdk import chat_checks, other_checks
from sdk.bench import Bench

__all__ = ["CHECKS"]

CHAT_MODELS = ("gpt-4.1", "gpt-5-mini", "claude-sonnet-4.6", "gemini-3.1-pro-preview")
STRUCTURED_MODELS = ("gpt-4.1", "gpt-5-mini", "claude-sonnet-4.6")

_BY_MODEL = ((chat_checks.EVERYWHERE, CHAT_MODELS), (chat_checks.STRUCTURED, STRUCTURED_MODELS))

CHECKS: dict[str, Callable[[Bench], None]] = {
    f"{check.__name__}: {model}": partial(check, model=model)
    for checks, models in _BY_MODEL
    for check in checks
    for model in models
} | {check.__name__: check for check in other_checks.ONCE}


def main(url: str, keyed_url: str, key: str) -> None:
    """Run every check, whatever became of those before it."""
    bench = Bench(url, keyed_url, key)
    for name, check in CHECKS.items():
        problem = ""
        try:
            check(bench)
        except Exception:  # noqa: BLE001 - whatever it is, it is the check's result
            problem = traceback.format_exc()
        print(json.dumps({"check": name, "sdk": openai.__version__, "problem": problem}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
