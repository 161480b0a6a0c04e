"""All that is printed for people.

Rule: text may come from anywhere, so no markup is read in it, and control characters and marks that change the
direction of writing are taken out. Colours follow the terminal and ``NO_COLOR``. One call, one line.
"""

import json
import sys
from collections.abc import Container, Iterable, Sequence

import msgspec
from rich.console import Console
from rich.text import Text

__all__ = ["console", "error", "is_interactive", "note", "plain", "say", "say_json", "say_table", "warn"]

# Wide enough for every table when no terminal says how wide it is.
WIDTH = 240

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_BLANKS = dict.fromkeys(map(ord, "\t\n\r\u2028\u2029"), " ")
_CLEANED: dict[int, str | None] = {**dict.fromkeys([*_CONTROLS, *_BIDI]), **_BLANKS}


def plain(text: str) -> str:
    """``text`` as one line that no terminal can take for a command."""
    return text.translate(_CLEANED)


def console(*, stderr: bool = False) -> Console:
    """A console on what is stdout (or stderr) now."""
    output = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    # On a terminal lines break between words; elsewhere a line stays one, for whoever reads it.
    output.soft_wrap = not output.is_terminal
    if not output.is_terminal:
        output.width = WIDTH
    return output


def say(text: str = "", *, style: str = "") -> None:
    """A line of the result, on stdout, flushed."""
    console().print(Text(plain(text), style=style))


def note(text: str = "", *, style: str = "") -> None:
    """A line beside the result, on stderr."""
    console(stderr=True).print(Text(plain(text), style=style))


def warn(text: str) -> None:
    """A warning, on stderr."""
    console(stderr=True).print(Text("warning: ", style="bold yellow") + Text(plain(text)))


def error(text: str) -> None:
    """What went wrong, on stderr."""
    console(stderr=True).print(Text("error: ", style="bold red") + Text(plain(text)))


def say_json(value: object) -> None:
    """``value`` as JSON, on stdout, in ASCII: escapes cannot reach the terminal."""
    builtins = msgspec.to_builtins(value, str_keys=True)
    sys.stdout.write(json.dumps(builtins, indent=2, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Container[str] = ()) -> None:
    """Rows under headings, on stdout; the first column and those of ``numbers`` are never cut."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        table.add_column(Text(name), no_wrap=index == 0 or name in numbers, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console().print(table, soft_wrap=False)


def is_interactive() -> bool:
    """Whether a person can be asked: both ways of the conversation are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()
