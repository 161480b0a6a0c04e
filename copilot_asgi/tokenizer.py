"""The exact tokenizer, from the optional package that ships its vocabulary; nothing is ever downloaded.

Loading it takes half a second and 150 MB: call from a worker thread, and only when somebody asks for a count.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

__all__ = ["exact_counter"]

# Beyond this many characters a text is split: the tokenizer's time must stay in proportion to the input.
PIECE = 100_000


@cache
def exact_counter() -> Callable[[str], float] | None:
    """A function that counts the tokens of a text, or ``None`` when the extra ``tokens`` is not installed.

    The vocabulary is o200k_base, the one that Copilot's catalog names for nearly every model.
    """
    if find_spec("bpe_openai") is None:
        return None
    import bpe_openai

    encoding = bpe_openai.get_encoding("o200k_base")

    def count(text: str) -> float:
        return sum(len(encoding.encode_ordinary(text[start : start + PIECE])) for start in range(0, len(text), PIECE))

    return count
