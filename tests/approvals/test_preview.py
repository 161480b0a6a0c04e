"""What a person is shown of a request is its last turn, and cannot steer a terminal."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.approvals.preview import LOOKED_AT, PREVIEW_LIMIT, one_line, preview, printable
from copilot_asgi.exchange import Request
from copilot_asgi.wire.dialect import Dialect
from tests.approvals.questions import make_question

ELLIPSIS = "\u2026"


def request(dialect: Dialect, **fields: object) -> Request:
    return Request.decode(dialect, (), msgspec.json.encode({"model": "m", **fields}))


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("dialect", "fields", "shown"),
    [
        (Dialect.CHAT, {"messages": [user("first"), user("last")]}, "last"),
        (Dialect.CHAT, {"messages": [user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])]}, "a\nb"),
        (Dialect.CHAT, {"messages": [{"role": "tool", "tool_call_id": "1", "content": "found"}]}, "found"),
        (Dialect.MESSAGES, {"messages": [user([{"type": "tool_result", "content": "done"}])]}, "done"),
        (
            Dialect.MESSAGES,
            {"messages": [user([{"type": "tool_result", "content": [{"type": "text", "text": "deep"}]}])]},
            "deep",
        ),
        (Dialect.RESPONSES, {"input": "hello"}, "hello"),
        (Dialect.RESPONSES, {"input": [user([{"type": "input_text", "text": "hello"}])]}, "hello"),
        (Dialect.RESPONSES, {"input": [{"type": "function_call_output", "output": "42"}]}, "42"),
        (Dialect.EMBEDDINGS, {"input": ["one", "two"]}, "two"),
        (Dialect.EMBEDDINGS, {"input": [1, 2]}, "2"),
        (Dialect.GEMINI, {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}, "hello"),
        (Dialect.OLLAMA, {"messages": [user("hello")]}, "hello"),
        (Dialect.OLLAMA, {"prompt": "hello"}, "hello"),
    ],
)
def test_the_last_turn_is_shown(dialect: Dialect, fields: dict[str, object], shown: str) -> None:
    """In each dialect the text of the last turn is found, however it is wrapped."""
    assert preview(request(dialect, **fields)) == shown


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, '{"model":"m"}'),
        ({"messages": []}, "[]"),
        ({"messages": 7}, "7"),
        ({"messages": [{"role": "user"}]}, '{"role":"user"}'),
        ({"messages": [user([{"type": "image_url"}])]}, '{"role":"user","content":[{"type":"image_url"}]}'),
        ({"messages": [user([{"type": "image", "note": 'a "text": "b"'}])]}, None),
    ],
)
def test_without_text_the_request_is_shown_as_it_stands(fields: dict[str, object], shown: str | None) -> None:
    """Nothing is hidden for want of a text, and what only looks like one, inside a string, is none."""
    asked = request(Dialect.CHAT, **fields)
    assert preview(asked) == (shown or msgspec.json.encode(fields["messages"]).decode()[1:-1])


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (rb'{"model":"m","messages":[{"content":"a\ud83d\ude00\n\"b\""}]}', 'a\U0001f600\n"b"'),
        (b'{"model":"m","messages":[{"content":"broken \xff\xfe"}]}', "broken \ufffd\ufffd"),
        (b'{"model":"m","messages":[{"content" : \n "spaced"}]}', "spaced"),
    ],
)
def test_texts_are_read_tolerantly(body: bytes, shown: str) -> None:
    """Escapes are read; where that fails the text is shown as it stands."""
    assert preview(Request.decode(Dialect.CHAT, (), body)) == shown


@pytest.mark.parametrize(("value", "shown"), [(b"[oops", "[oops"), (rb'"\q\q\q\q"', r"\q\q\q\q")])
def test_what_is_not_json_is_shown_as_it_stands(value: bytes, shown: str) -> None:
    """A request that an earlier stage made wrongly is no reason to fail."""
    good = request(Dialect.CHAT, messages=[])
    broken = msgspec.structs.replace(good, fields={"messages": msgspec.Raw(value)})
    assert preview(broken) == shown


@pytest.mark.parametrize("size", [LOOKED_AT - 40, LOOKED_AT, 10_000_000])
def test_long_turns_are_cut(size: int) -> None:
    """Of ten megabytes the beginning is shown, and that there is more."""
    shown = preview(request(Dialect.CHAT, messages=[user("a" * size)]))
    assert shown == "a" * (PREVIEW_LIMIT - 3) + ELLIPSIS


def test_no_more_than_the_beginning_of_a_turn_is_looked_at() -> None:
    """A text behind a large image is not searched for; the turn is shown as it stands."""
    image, text = {"type": "image", "data": "A" * LOOKED_AT}, {"type": "text", "text": "late"}
    assert preview(request(Dialect.CHAT, messages=[user([image, text])])).startswith(
        '{"role":"user","content":[{"type"'
    )
    assert preview(request(Dialect.CHAT, messages=[user([text, image])])) == "late"


@pytest.mark.parametrize("escape", [b"\\n", b"\\\\", b"\\u0041", b"\\ud83d\\ude00", "\u4f60".encode()])
def test_what_is_cut_in_two_is_left_out(escape: bytes) -> None:
    """Wherever in an escape or a character the turn is cut, the text before it is read."""
    start = len(b'{"role":"user","content":"')
    for offset in range(13):
        blank = b" " * (LOOKED_AT - start - offset - 6)
        body = b'{"model":"m","messages":[{"role":"user","content":"a\\tb\\nc' + blank + escape * 4 + b'"}]}'
        assert preview(Request.decode(Dialect.CHAT, (), body)).startswith("a b\nc")


@pytest.mark.parametrize(
    ("text", "lines", "line"),
    [
        ("plain \u00fcn\u00efc\u00f6d\u00e9 \u4f60", "plain \u00fcn\u00efc\u00f6d\u00e9 \u4f60", None),
        ("a\x1b[2Jb", "a[2Jb", None),
        ("\x1b]52;c;ZXZpbA==\x07x", "]52;c;ZXZpbA==x", None),
        ("\x9b31mred\x9d0;t\x9c", "31mred0;t", None),
        ("pay \u202eeslaf\u202c \u2066x\u2069\u200f\u061c", "pay eslaf x", None),
        ("a\u200bb\u00adc\ufeffd", "abcd", None),
        ("a\tb\u00a0c", "a b c", None),
        ("a\n\n\r\nb\rc\u2028d\x85e\x0bf\x0cg", "a\nb\nc\nd\ne\nf\ng", "a b c d e f g"),
        ("   indented  \n", "   indented", "indented"),
        ("\ud800x", "x", None),
        ("", "", None),
        ("\n \n", "", None),
    ],
)
def test_nothing_but_printable_characters_is_left(text: str, lines: str, line: str | None) -> None:
    """Escape sequences lose what makes them so, writing keeps its direction, and lines stay lines or become one."""
    assert printable(text, 100) == lines
    assert one_line(text, 100) == (lines if line is None else line)


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc" + ELLIPSIS),
        ("\u00e9\u00e9\u00e9", 6, "\u00e9\u00e9\u00e9"),
        ("\u00e9\u00e9\u00e9\u00e9", 6, "\u00e9" + ELLIPSIS),
        ("\x00" * 24 + "hidden", 6, ELLIPSIS),
    ],
)
def test_texts_are_cut_between_characters(text: str, limit: int, cut: str) -> None:
    """The limit counts bytes, and a text that is not whole says so, also when nothing of it could be shown."""
    assert printable(text, limit) == cut
    assert one_line(text, limit) == cut


@settings(max_examples=200, deadline=None)
@given(st.text(), st.integers(3, 60))
def test_any_text_comes_out_safe(text: str, limit: int) -> None:
    """Whatever goes in comes out printable and no longer than allowed; cleaning it again changes nothing."""
    lines, line = printable(text, limit), one_line(text, limit)
    assert all(part.isprintable() for part in lines.split("\n"))
    assert line.isprintable()
    assert max(len(lines.encode()), len(line.encode())) <= limit
    assert printable(lines, limit) == lines


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of)))
def test_any_request_has_a_preview(value: object) -> None:
    """Whatever stands where the turns should be, there is something to show and nothing is raised."""
    assert preview(request(Dialect.CHAT, messages=value)).replace("\n", "").isprintable()


def test_a_question_does_not_show_its_text_in_logs() -> None:
    """The representation names the request, not what is in it."""
    shown = repr(make_question(preview="my secret plan", body=b"my secret plan"))
    assert "secret" not in shown
    assert "question-1" in shown
