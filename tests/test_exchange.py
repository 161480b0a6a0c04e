"""A request is decoded once, shallowly, and changed one key at a time."""

import pickle

import msgspec
import pytest

from copilot_asgi.errors import BadRequest
from copilot_asgi.exchange import Head, Request, header
from copilot_asgi.wire.dialect import Dialect


def decode(body: bytes) -> Request:
    return Request.decode(Dialect.CHAT, (), body)


# A full decode of either would fail: one number is out of range, the other text is not UTF-8.
UNDECODABLE = [b'[{"n":1e99999}]', b'[{"t":"\xff\xfe"}]']


@pytest.mark.parametrize("inner", UNDECODABLE)
def test_only_the_top_level_is_decoded(inner: bytes) -> None:
    """What is inside the messages is passed over: bytes that a full decode would refuse go through."""
    body = b'{"model":"m","messages":' + inner + b',"stream":true}'
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        msgspec.json.decode(body)
    request = decode(body)
    assert request.body is body
    assert (request.model, request.stream) == ("m", True)
    assert bytes(request.fields["messages"]) == inner


def test_a_big_body_stays_the_object_it_was() -> None:
    """187 KB of messages are neither copied nor taken apart."""
    body = b'{"model":"m","messages":[' + b'{"role":"user","content":"' + b"x" * 187_000 + b'"}]}'
    request = decode(body)
    assert request.body is body
    assert len(request.fields) == 2


def test_replacing_one_key_leaves_the_others_as_they_are() -> None:
    """Only the named keys change; other values keep their very bytes, spaces and number formats included."""
    request = decode(b'{"model":"a", "n" : 1.50, "x":{"a" :  [1,2]}, "gone":null}')
    changed = request.replace({"model": b'"b"', "gone": None, "absent": None, "new": b"7"})
    assert changed.body == b'{"model":"b","n":1.50,"x":{"a" :  [1,2]},"new":7}'
    assert changed.model == "b"
    assert request.model == "a"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON object"),
        (b"[]", "JSON object"),
        (b"null", "JSON object"),
        (b'{"model":', "JSON object"),
        (b'{"model":"m"} x', "JSON object"),
        (b'\xef\xbb\xbf{"model":"m"}', "JSON object"),
        (b'{"\xff":1}', "JSON object"),
        (b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
        (b"{}", "'model' is missing"),
        (b'{"model":7}', "'model' must be a string"),
        (b'{"model":"\xff"}', "'model' must be a string"),
        (b'{"model":""}', "short printable"),
        (b'{"model":"a\\r\\nb"}', "short printable"),
        (b'{"model":"' + b"m" * 300 + b'"}', "short printable"),
        (b'{"model":"m","stream":"yes"}', "'stream'"),
        (b'{"model":"m","stream":1}', "'stream'"),
    ],
)
def test_bad_bodies_are_told_what_is_wrong(body: bytes, words: str) -> None:
    """Each way of being wrong has a sentence that names it."""
    with pytest.raises(BadRequest, match=words):
        decode(body)


@pytest.mark.parametrize(("text", "stream"), [(b"true", True), (b"false", False), (b"null", False)])
def test_stream_may_be_null(text: bytes, stream: bool) -> None:
    """Some clients send ``"stream": null`` for no."""
    assert decode(b'{"model":"m","stream":' + text + b"}").stream is stream


def test_the_last_of_two_equal_keys_counts_for_us_and_upstream() -> None:
    """A repeated key cannot show one model to us and another one upstream once a key is replaced."""
    request = decode(b'{"model":"a","model":"b"}')
    assert request.model == "b"
    assert request.replace({"n": b"1"}).body == b'{"model":"b","n":1}'


def test_headers_are_found_by_name() -> None:
    """The first header of a name is returned, or nothing."""
    pairs = ((b"a", b"1"), (b"a", b"2"))
    assert (header(pairs, b"a"), header(pairs, b"b")) == (b"1", None)


def test_a_head_is_plain_data() -> None:
    """Heads compare by value and survive pickling."""
    assert pickle.loads(pickle.dumps(Head(200, ((b"a", b"1"),)))) == Head(200, ((b"a", b"1"),))
