"""Embeddings: requests that Copilot takes, answers that the OpenAI library reads."""

import base64
import json
import struct

import pytest
from openai.types import CreateEmbeddingResponse

from copilot_asgi.errors import BadRequest, MalformedResponse, UpstreamStatus
from copilot_asgi.wire.embeddings import complete_answer, prepare, wants_base64
from copilot_asgi.wire.shallow import read_object

Json = dict[str, object]


def fields(**body: object) -> dict[str, object]:
    return read_object(json.dumps(body).encode())  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        ({"input": ["a", "b"]}, {}),
        ({"input": 'a "b"'}, {"input": b'["a \\"b\\""]'}),
        ({"input": ["a"], "encoding_format": "base64"}, {"encoding_format": None}),
        ({"input": ["a"], "encoding_format": "float"}, {}),
        ({"input": ["a"], "encoding_format": None, "user": None}, {"encoding_format": None, "user": None}),
    ],
)
def test_prepare(body: Json, changes: Json) -> None:
    """One text becomes a list of one, base64 is done here, nulls go."""
    assert prepare(fields(**body)) == changes  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, [], [1, 2], [[1, 2]], ["a", 1], 5, {"a": 1}])
def test_what_is_no_text(value: object) -> None:
    """Token ids and nonsense are refused with the field named; LangChain users are told the switch."""
    with pytest.raises(BadRequest) as caught:
        prepare(fields(input=value))  # type: ignore[arg-type]
    assert caught.value.param == "input"
    assert value is None or "check_embedding_ctx_length=False" in caught.value.message


def test_input_may_not_be_missing() -> None:
    """There is nothing to embed without input."""
    with pytest.raises(BadRequest, match="missing"):
        prepare({})


def test_input_that_cannot_be_read() -> None:
    """An element that is no JSON is refused like any other."""
    import msgspec

    with pytest.raises(BadRequest):
        prepare({"input": msgspec.Raw(b"[nonsense]")})


def test_wants_base64() -> None:
    """Only what the client wrote counts."""
    assert wants_base64(fields(encoding_format="base64"))  # type: ignore[arg-type]
    assert not wants_base64(fields(encoding_format="float"))  # type: ignore[arg-type]
    assert not wants_base64({})


COPILOT: Json = {
    "data": [{"embedding": [0.5, -1.25, 3]}, {"embedding": [0, 1e-3, 2.0], "index": 1, "object": "embedding"}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}


def complete(body: object, *, base64: bool = False) -> bytes:
    return complete_answer(json.dumps(body).encode(), model="text-embedding-3-small", base64=base64)


def test_an_answer_is_completed() -> None:
    """Object, model and indexes are supplied; the strict model of the library takes it."""
    answer = CreateEmbeddingResponse.model_validate_json(complete(COPILOT), strict=True)
    assert (answer.object, answer.model) == ("list", "text-embedding-3-small")
    assert [(item.index, item.embedding) for item in answer.data] == [(0, [0.5, -1.25, 3.0]), (1, [0.0, 0.001, 2.0])]


def test_usage_is_supplied() -> None:
    """Clients read usage without asking whether it is there."""
    answer = CreateEmbeddingResponse.model_validate_json(complete({"data": []}), strict=True)
    assert answer.usage.total_tokens == 0


def test_base64_is_little_endian_float32() -> None:
    """Both OpenAI libraries decode that, whatever the machine's own order is."""
    items = json.loads(complete(COPILOT, base64=True))["data"]
    assert struct.unpack("<3f", base64.b64decode(items[0]["embedding"])) == (0.5, -1.25, 3.0)


def test_a_vector_that_is_base64_already_is_kept() -> None:
    """Should Copilot learn base64, its text passes."""
    body = {"data": [{"embedding": "AAAAPw=="}]}
    assert json.loads(complete(body, base64=True))["data"][0]["embedding"] == "AAAAPw=="


def test_a_right_answer_is_the_same_object() -> None:
    """What needs no completing is not copied."""
    body = complete(COPILOT)
    assert complete_answer(body, model="other", base64=False) is body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data":5}',
        b'{"data":[5]}',
        b'{"data":[{}]}',
        b'{"data":[{"embedding":5}]}',
        b'{"data":[{"embedding":"AAAA"}]}',
        b'{"data":[{"embedding":NaN}]}',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    """Anything else is refused."""
    with pytest.raises(MalformedResponse):
        complete_answer(body, model="m", base64=False)


@pytest.mark.parametrize("vector", [b"[1e300]", b'["a"]', b"[null]"])
def test_what_is_no_vector(vector: bytes) -> None:
    """Numbers that no float32 holds, and no numbers, are refused when they must be packed."""
    with pytest.raises(MalformedResponse):
        complete_answer(b'{"data":[{"embedding":' + vector + b"}]}", model="m", base64=True)


def test_an_error_under_success() -> None:
    """An error is told as one."""
    with pytest.raises(UpstreamStatus) as caught:
        complete({"error": {"message": "m", "code": "model_not_supported"}})
    assert caught.value.status == 400
