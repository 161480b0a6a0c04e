"""What an answer used is found in every dialect, however its bytes were cut, and nonsense is as good as nothing."""

import time
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot_asgi.wire import usage_words
from copilot_asgi.wire.usage import HEAD, MOST_NANO, MOST_TOKENS, TAIL, Tokens, UsageTail

DETAILS = (
    b'"copilot_usage":{"token_details":[{"token_type":"input","token_count":3857,"batch_size":1000000,'
    b'"cost_per_batch":300},{"token_type":"cache_read","token_count":0},{"token_type":"cache_write","token_count":12539},'
    b'{"token_type":"output","token_count":362}],"total_nano_aiu":6402225000}'
)
BILLED = Tokens(fresh=3857, cache_read=0, cache_write=12539, output=362, nano_credits=6402225000)


def event(data: bytes, name: bytes = b"") -> bytes:
    return (b"event: " + name + b"\n" if name else b"") + b"data: " + data + b"\n\n"


CHAT_TEXT = event(
    b'{"choices":[{"delta":{"content":"say \\"usage\\":{\\"prompt_tokens\\":9} \xc3\xa4"},"index":0}],"usage":null}'
)
CHAT_USAGE = event(
    b'{"choices":[],"usage":{"completion_tokens":14,"prompt_tokens":80,"total_tokens":94,'
    b'"completion_tokens_details":{"reasoning_tokens":3},"prompt_tokens_details":{"cached_tokens":64}}}'
)
CHAT_BILLED = event(b'{"choices":[],"usage":{"completion_tokens":362,"prompt_tokens":16396},' + DETAILS + b"}")
DONE = event(b"[DONE]")
CHAT = CHAT_TEXT * 3 + CHAT_USAGE + DONE

START = event(
    b'{"type":"message_start","message":{"id":"msg_1","type":"message","content":[],"usage":{"input_tokens":16,'
    b'"cache_creation_input_tokens":7,"cache_read_input_tokens":500,"output_tokens":1}}}',
    b"message_start",
)
TEXT = event(
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}', b"content_block_delta"
)
ENDING = event(
    b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":25}}', b"message_delta"
)
STOP = event(b'{"type":"message_stop"}', b"message_stop")
MESSAGES = START + TEXT * 2 + ENDING + STOP
MESSAGES_TOKENS = Tokens(fresh=16, cache_read=500, cache_write=7, output=25)

CREATED = event(b'{"type":"response.created","response":{"id":"a","status":"in_progress","output":[],"usage":null}}')
COMPLETED = event(
    b'{"type":"response.completed","response":{"id":"b","status":"completed","output":[{"text":"Hi"}],"usage":'
    b'{"input_tokens":50,"input_tokens_details":{"cached_tokens":20},"output_tokens":30,"total_tokens":80}}}'
)
RESPONSES = CREATED + TEXT + COMPLETED
RESPONSES_TOKENS = Tokens(fresh=30, cache_read=20, output=30)


def read(pieces: Iterable[bytes], *, whole: bool = False) -> Tokens | None:
    tail = UsageTail(whole=whole)
    for piece in pieces:
        tail.feed(piece)
    return tail.read()


STREAMS = {
    "chat": (CHAT, Tokens(fresh=16, cache_read=64, output=14)),
    "chat, with what was charged": (CHAT_TEXT + CHAT_BILLED + DONE, BILLED),
    "chat, charge in an event of its own": (CHAT_USAGE + event(b"{" + DETAILS + b"}"), BILLED),
    "messages": (MESSAGES, MESSAGES_TOKENS),
    "messages, all at the end": (
        START
        + event(
            b'{"type":"message_delta","usage":{"input_tokens":9,"cache_read_input_tokens":1,'
            b'"cache_creation_input_tokens":2,"output_tokens":3}}'
        ),
        Tokens(fresh=9, cache_read=1, cache_write=2, output=3),
    ),
    "messages, with what was charged": (
        START + event(b'{"type":"message_delta","usage":{"output_tokens":362},' + DETAILS + b"}"),
        BILLED,
    ),
    "messages, charge inside the delta": (
        START + event(b'{"type":"message_delta","delta":{' + DETAILS + b'},"usage":{"output_tokens":362}}'),
        BILLED,
    ),
    "messages, an early charge gives way to the later one": (
        event(b'{"type":"message_start","message":{"usage":{"input_tokens":1}},"copilot_usage":{"total_nano_aiu":5}}')
        + event(b'{"type":"message_delta","usage":{"output_tokens":362},' + DETAILS + b"}"),
        BILLED,
    ),
    "messages, an early charge knows no output": (
        event(b'{"type":"message_start","message":{"usage":{"input_tokens":16396,"output_tokens":1},' + DETAILS + b"}}")
        + ENDING,
        Tokens(fresh=3857, cache_write=12539, output=25),
    ),
    "responses": (RESPONSES, RESPONSES_TOKENS),
    "responses, incomplete": (RESPONSES.replace(b".completed", b".incomplete"), RESPONSES_TOKENS),
    "responses, failed": (RESPONSES.replace(b".completed", b".failed"), RESPONSES_TOKENS),
    "responses, with what was charged": (
        CREATED + event(b'{"type":"response.completed","response":{"usage":{"input_tokens":16396},' + DETAILS + b"}}"),
        BILLED,
    ),
    "responses, charge beside the response": (
        event(b'{"type":"response.completed","response":{"usage":{"input_tokens":9}},' + DETAILS + b"}"),
        BILLED,
    ),
    "a charge without details": (
        event(b'{"usage":{"prompt_tokens":5,"completion_tokens":1},"copilot_usage":{"total_nano_aiu":77}}'),
        Tokens(fresh=5, output=1, nano_credits=77),
    ),
    "a charge with nothing beside it": (event(b'{"copilot_usage":{"total_nano_aiu":0}}'), Tokens(nano_credits=0)),
    "carriage returns and no blanks": (
        CHAT.replace(b"\n", b"\r\n").replace(b"data: ", b"data:"),
        Tokens(fresh=16, cache_read=64, output=14),
    ),
    "broken off before any usage": (CHAT_TEXT * 4, None),
    "nothing": (b"", None),
}

WHOLE = {
    "chat": (
        b'{"choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":12,"completion_tokens":3,'
        b'"prompt_tokens_details":{"cached_tokens":0}},"id":"x"}',
        Tokens(fresh=12, output=3),
    ),
    "chat, charged, on many lines": (
        b'{\n "choices": [],\n "usage":\n {"prompt_tokens": 1},\n' + DETAILS + b"}",
        BILLED,
    ),
    "chat answered by Messages": (
        b'{"type":"message","content":[],"usage":{"input_tokens":5,"cache_read_input_tokens":6,"output_tokens":7}}',
        Tokens(fresh=5, cache_read=6, output=7),
    ),
    "messages, a tool is handed an object called usage": (
        b'{"type":"message","usage":{"input_tokens":5,"output_tokens":7},'
        b'"content":[{"type":"tool_use","input":{"usage":{"input_tokens":1,"output_tokens":1}}}]}',
        Tokens(fresh=5, output=7),
    ),
    "responses, the client's tool has a property called usage": (
        b'{"object":"response","usage":{"input_tokens":50,"output_tokens":20,"input_tokens_details":null},'
        b'"tools":[{"parameters":{"copilot_usage":{"total_nano_aiu":0},"usage":{"input_tokens":0}}}]}',
        Tokens(fresh=50, output=20),
    ),
    "embeddings": (
        b'{"data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":8,"total_tokens":8}}',
        Tokens(fresh=8),
    ),
    "no usage": (b'{"choices":[]}', None),
    "usage is null": (b'{"choices":[],"usage":null}', None),
    "not JSON": (b"<html>usage</html>", None),
    "cut off behind its usage": (
        b'{"usage":{"prompt_tokens":8,"completion_tokens":2},"choices":[{"mess',
        Tokens(fresh=8, output=2),
    ),
}


@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS.keys())
def test_streams(stream: bytes, expected: Tokens | None) -> None:
    """Each dialect's stream says what it used, wherever it is cut into two pieces, and one byte at a time."""
    assert read([stream]) == expected
    assert read(stream[place : place + 1] for place in range(len(stream))) == expected
    for place in range(len(stream)):
        assert read([stream[:place], stream[place:]]) == expected


@pytest.mark.parametrize(("body", "expected"), WHOLE.values(), ids=WHOLE.keys())
def test_whole_answers(body: bytes, expected: Tokens | None) -> None:
    """So does a whole answer; what a model or a client wrote into it does not count."""
    assert read([body], whole=True) == expected
    for place in range(len(body)):
        assert read([body[:place], body[place:]], whole=True) == expected


@pytest.mark.parametrize("size", [1, 7, 1_000, 16_384, 65_536, 1_000_000])
@pytest.mark.parametrize(
    ("first", "filler", "last", "expected"),
    [
        (CHAT_TEXT, CHAT_TEXT, CHAT_USAGE + DONE, Tokens(fresh=16, cache_read=64, output=14)),
        (START, TEXT, ENDING + STOP, MESSAGES_TOKENS),
        (CREATED, TEXT, COMPLETED, RESPONSES_TOKENS),
    ],
    ids=["chat", "messages", "responses"],
)
def test_long_streams(size: int, first: bytes, filler: bytes, last: bytes, expected: Tokens) -> None:
    """A stream longer than what is kept says the same, whatever the size of its pieces; the middle is forgotten."""
    stream = first + filler * (2 * (HEAD + TAIL) // len(filler)) + last
    tail = UsageTail(whole=False)
    for place in range(0, len(stream), size):
        tail.feed(stream[place : place + size])
    assert tail.read() == expected
    assert tail.size == len(stream)


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 200_000), max_size=30), count=st.integers(0, 2_000))
def test_cuts_do_not_matter(cuts: Sequence[int], count: int) -> None:
    """However long a stream is and wherever it was cut, it says the same."""
    stream = START + TEXT * count + ENDING + STOP
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    assert read(stream[one:other] for one, other in pairwise(places)) == MESSAGES_TOKENS


@pytest.mark.parametrize("billed", [False, True])
@pytest.mark.parametrize("size", [1_000, 50_000])
def test_a_last_event_larger_than_what_is_kept(size: int, *, billed: bool) -> None:
    """An event whose beginning is forgotten still says what was used, and what stands in its text does not count."""
    text = msgspec.json.encode('"usage":{"input_tokens":1},"copilot_usage":{"total_nano_aiu":1}' * 5_000)
    schema = b'"tools":[{"parameters":{"usage":{"type":"object","properties":{"input_tokens":{}}}}}]'
    charge = b"," + DETAILS if billed else b""
    last = event(
        b'{"type":"response.completed","response":{"output":[{"text":' + text + b'}],"usage":{"input_tokens":50,'
        b'"input_tokens_details":{"cached_tokens":20},"output_tokens":30}' + charge + b"," + schema + b',"user":null}}'
    )
    assert len(last) > HEAD + 2 * TAIL
    stream = CREATED + TEXT * 300 + last
    pieces = (stream[place : place + size] for place in range(0, len(stream), size))
    assert read(pieces) == (BILLED if billed else RESPONSES_TOKENS)


def test_a_message_that_broke_off() -> None:
    """Without its end Messages has said what went in, and that says that it is not the end."""
    assert read([START + TEXT]) == Tokens(fresh=16, cache_read=500, cache_write=7, output=1, final=False)
    assert read([START[:-4]]) == Tokens(fresh=16, cache_read=500, cache_write=7, output=1, final=False)
    early = event(b'{"type":"message_start","message":{"usage":{"input_tokens":16396},' + DETAILS + b"}}")
    assert read([early]) == Tokens(fresh=3857, cache_write=12539, output=362, final=False)


NONSENSE = {
    "negative": (b'{"prompt_tokens":-5,"completion_tokens":3}', Tokens(fresh=0, output=3)),
    "cached beyond the prompt": (
        b'{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":50}}',
        Tokens(fresh=0, cache_read=5),
    ),
    "huge": (b'{"prompt_tokens":9007199254740993,"completion_tokens":3}', Tokens(output=3)),
    "beyond 64 bits": (b'{"prompt_tokens":' + b"9" * 30 + b',"completion_tokens":3}', Tokens(output=3)),
    "thousands of digits": (b'{"prompt_tokens":' + b"9" * 5_000 + b',"completion_tokens":3}', Tokens(output=3)),
    "the most": (b'{"prompt_tokens":1000000000}', Tokens(fresh=MOST_TOKENS)),
    "more than the most": (b'{"prompt_tokens":1000000001}', None),
    "strings": (b'{"prompt_tokens":"5","completion_tokens":true}', None),
    "fractions": (b'{"prompt_tokens":1.5,"completion_tokens":4}', Tokens(output=4)),
    "null": (b'{"prompt_tokens":null,"completion_tokens":null,"prompt_tokens_details":null}', None),
    "details are a list": (b'{"input_tokens":3,"input_tokens_details":[1]}', Tokens(fresh=3)),
    "details without cached": (b'{"input_tokens":3,"input_tokens_details":{"text":1}}', Tokens(fresh=3)),
    "empty": (b"{}", None),
    "a list": (b"[1]", None),
    "a number": (b"7", None),
}


@pytest.mark.parametrize(("usage", "expected"), NONSENSE.values(), ids=NONSENSE.keys())
def test_counts_that_cannot_be_believed(usage: bytes, expected: Tokens | None) -> None:
    """A negative count is none, a huge one or one of another type is as good as missing (E17)."""
    assert read([event(b'{"choices":[],"usage":' + usage + b"}")]) == expected
    assert read([b'{"usage":' + usage + b"}"], whole=True) == expected


@pytest.mark.parametrize(
    ("billed", "expected"),
    [
        (b'{"total_nano_aiu":-1}', Tokens(nano_credits=0)),
        (b'{"total_nano_aiu":1000000000000000}', Tokens(nano_credits=MOST_NANO)),
        (b'{"total_nano_aiu":1000000000000001}', None),
        (b'{"total_nano_aiu":1.5}', None),
        (b'{"token_details":{"token_type":"input"}}', None),
        (b'{"token_details":[7,null,{"token_type":7,"token_count":1},{"token_type":"input"}]}', None),
        (b'{"token_details":[{"token_type":"dreams","token_count":5}]}', None),
        (
            b'{"token_details":[{"token_type":"output","token_count":5},{"token_type":"output","token_count":2}]}',
            Tokens(output=7),
        ),
        (b'"a lot"', None),
    ],
)
def test_charges_that_cannot_be_believed(billed: bytes, expected: Tokens | None) -> None:
    """The same holds for what upstream says it charged."""
    assert read([event(b'{"copilot_usage":' + billed + b"}")]) == expected


counts = st.one_of(st.none(), st.integers(-1, 9), st.sampled_from([MOST_TOKENS + 1, "5", 1.5, {}]))
cached = st.one_of(counts, st.fixed_dictionaries({}, optional={"cached_tokens": counts, "text": counts}))
said = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(usage_words.Counts.__struct_fields__[:-2], counts),
        **dict.fromkeys(usage_words.Counts.__struct_fields__[-2:], cached),
        "total_tokens": counts,
    },
)
details = st.fixed_dictionaries(
    {}, optional={"token_type": st.sampled_from(["input", "output", "dreams", 7]), "token_count": counts}
)
bills = st.fixed_dictionaries(
    {}, optional={"total_nano_aiu": counts, "token_details": st.one_of(counts, st.lists(details, max_size=3))}
)
places = {"usage": st.one_of(counts, said), "copilot_usage": st.one_of(counts, bills)}
nested = st.one_of(counts, st.fixed_dictionaries({}, optional=places))
events = st.fixed_dictionaries({}, optional={**places, "message": nested, "response": nested, "delta": nested})


@settings(max_examples=300, deadline=None)
@given(st.lists(events, max_size=3), st.booleans())
def test_the_quick_way_reads_what_the_careful_one_does(read_events: list[object], whole: bool) -> None:
    """Decoding into typed objects only saves time: value by value the same is found."""
    pieces = [event(msgspec.json.encode(each)) for each in read_events]
    if whole:
        pieces = [msgspec.json.encode(each) for each in read_events[:1]]
    quick = read(pieces, whole=whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage_words, "_event_decoder", msgspec.json.Decoder(int))
        assert read(pieces, whole=whole) == quick


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"data: ",
                b"\n",
                b'{"usage":{',
                b'"usage":',
                b'"copilot_usage":{',
                b'"prompt_tokens":',
                b"1",
                b"-",
                b"}",
                b"]",
                b"[",
                b'"',
                b"\\",
                b"\xff",
                b'"message":{',
                b'"message_start"',
                b",",
                b"{" * 2_000,
                b"[" * 2_000,
            ]
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_no_bytes_make_it_fail(pieces: list[bytes], whole: bool) -> None:
    """Whatever upstream sends, reading it returns believable numbers or nothing."""
    tokens = read(pieces, whole=whole)
    if tokens is not None:
        counts = (tokens.fresh, tokens.cache_read, tokens.cache_write, tokens.output)
        assert all(0 <= count <= MOST_TOKENS for count in counts)


@pytest.mark.parametrize("message", [b'"text"', b"[1]", b"null", b'{"\xff":1}'])
def test_a_message_of_another_kind(message: bytes) -> None:
    """What else is called ``message`` hides nothing beside it."""
    tokens = read([event(b'{"message":' + message + b',"usage":{"prompt_tokens":3}}')])
    assert tokens is not None
    assert tokens.fresh == 3


def test_many_candidates_are_not_all_looked_at() -> None:
    """A cut event full of objects that are no usage costs bounded work."""
    junk = b'{"usage":{"usage":[' * 4_000
    began = time.perf_counter()
    assert read([junk], whole=True) is None
    assert time.perf_counter() - began < 1


def test_feeding_keeps_the_pieces_themselves() -> None:
    """Pieces are kept by reference, and those of the middle are let go."""
    pieces = [bytes(bytearray(TEXT * 100)) for _ in range(200)]
    tail = UsageTail(whole=False)
    for piece in pieces:
        tail.feed(piece)
    kept = [piece for piece in tail._kept() if piece != b"\n"]
    assert all(any(piece is one for one in pieces) for piece in kept)
    assert sum(map(len, kept)) < HEAD + TAIL + 2 * len(pieces[0])
