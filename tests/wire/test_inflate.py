"""Compressed answers are undone within bounds, however they are cut, and refused when they are not what they claim."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_asgi.errors import MalformedResponse, ResponseTooLarge
from copilot_asgi.wire.inflate import MAX_RATIO, RATIO_FREE, decoder

TEXT = b'data: {"choices":[{"delta":{"content":"caf\xc3\xa9 0123456789"}}]}\n\n' * 5


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


def inflate(coding: bytes, pieces: list[bytes], limit: int = 1 << 20) -> bytes:
    machine = decoder(coding, limit=limit)
    out = b"".join(machine.feed(piece) for piece in pieces)
    machine.finish()
    return out


ENCODED = [
    pytest.param(b"", TEXT, id="not encoded"),
    pytest.param(b"identity", TEXT, id="identity"),
    pytest.param(b" GZIP ", gzip.compress(TEXT), id="gzip in capitals"),
    pytest.param(b"x-gzip", gzip.compress(TEXT), id="x-gzip"),
    pytest.param(b"gzip", gzip.compress(TEXT[:7]) + gzip.compress(TEXT[7:]), id="gzip of two members"),
    pytest.param(b"deflate", zlib.compress(TEXT), id="deflate as RFC 1950 has it"),
    pytest.param(b"deflate", raw_deflate(TEXT), id="deflate without its header"),
]


@pytest.mark.parametrize(("coding", "data"), ENCODED)
def test_whole(coding, data):
    """The body comes out as it was."""
    assert inflate(coding, [data]) == TEXT


@pytest.mark.parametrize(("coding", "data"), ENCODED)
def test_one_byte_at_a_time(coding, data):
    """It comes out the same when each byte comes alone."""
    assert inflate(coding, [data[i : i + 1] for i in range(len(data))]) == TEXT


@pytest.mark.parametrize(("coding", "data"), ENCODED)
def test_split_at_every_offset(coding, data):
    """It comes out the same wherever it is cut."""
    for i in range(len(data) + 1):
        assert inflate(coding, [data[:i], data[i:]]) == TEXT


@given(body=st.binary(max_size=2000), cut=st.integers(0, 2100), member=st.integers(0, 2000))
def test_any_body(body, cut, member):
    """Any bytes survive gzip in two members and a cut anywhere."""
    data = gzip.compress(body[:member]) + gzip.compress(body[member:])
    assert inflate(b"gzip", [data[:cut], data[cut:]]) == body


@pytest.mark.parametrize("coding", [b"", b"identity", b"gzip", b"deflate"])
def test_empty(coding):
    """A body without bytes is empty, whatever it is said to be."""
    assert inflate(coding, []) == b""


@pytest.mark.parametrize(
    "coding", [b"br", b"zstd", b"compress", b"gzip, gzip", b"gzip, identity", b"deflate,gzip", b"\xff"]
)
def test_unknown_or_repeated_coding(coding):
    """A coding that is not ours to undo, and one upon another, are refused before a byte is looked at."""
    with pytest.raises(MalformedResponse):
        decoder(coding, limit=100)


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        pytest.param(b"gzip", gzip.compress(TEXT)[:-1], id="gzip without its last byte"),
        pytest.param(b"gzip", gzip.compress(TEXT)[:5], id="gzip within its header"),
        pytest.param(b"gzip", gzip.compress(TEXT) + b"\x1f", id="gzip with half a second member"),
        pytest.param(b"deflate", zlib.compress(TEXT)[:-1], id="deflate without its last byte"),
        pytest.param(b"deflate", b"x", id="deflate of one byte"),
    ],
)
def test_cut_short(coding, data):
    """A body that ends too early is told from one that is complete, at its end."""
    machine = decoder(coding, limit=1 << 20)
    machine.feed(data)
    with pytest.raises(MalformedResponse, match="too early"):
        machine.finish()


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        pytest.param(b"gzip", TEXT, id="not gzip at all"),
        pytest.param(b"gzip", gzip.compress(TEXT)[:-8] + bytes(8), id="wrong checksum"),
        pytest.param(b"gzip", gzip.compress(TEXT) + b"tail", id="something behind gzip"),
        pytest.param(b"deflate", b"\xff\xff\xff", id="not deflate at all"),
        pytest.param(b"deflate", zlib.compress(TEXT) + b"tail", id="something behind deflate"),
    ],
)
def test_damaged(coding, data):
    """A body that is not what it claims is refused where that shows."""
    with pytest.raises(MalformedResponse):
        decoder(coding, limit=1 << 20).feed(data)


def test_limit():
    """Exactly the limit comes out; one byte more is refused, and never decoded further."""
    assert inflate(b"gzip", [gzip.compress(b"a" * 1000)], limit=1000) == b"a" * 1000
    with pytest.raises(ResponseTooLarge):
        inflate(b"gzip", [gzip.compress(b"a" * 1001)], limit=1000)


def test_limit_holds_over_all_pieces():
    """The limit counts the whole body, not one piece or one member."""
    machine = decoder(b"gzip", limit=1500)
    machine.feed(gzip.compress(b"a" * 1000))
    with pytest.raises(ResponseTooLarge):
        machine.feed(gzip.compress(b"a" * 1000))


def test_bomb_is_refused_by_its_ratio():
    """A small piece that unpacks to much more than text ever does is refused long before the limit."""
    bomb = gzip.compress(b"\0" * (20 * RATIO_FREE))
    assert len(bomb) * MAX_RATIO < 20 * RATIO_FREE
    with pytest.raises(ResponseTooLarge):
        decoder(b"gzip", limit=1 << 40).feed(bomb)


def test_repetitive_text_is_not_a_bomb():
    """Text that compresses well, a hundredfold, passes."""
    text = b"".join(b'{"id":"model-%d","object":"model","capabilities":{}},' % i for i in range(60_000))
    data = gzip.compress(text)
    assert inflate(b"gzip", [data], limit=1 << 30) == text
