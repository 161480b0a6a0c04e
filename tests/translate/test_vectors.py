"""Every vector, in every cut: what goes in as one dialect comes out as the other, as far as the vector tells."""

import json
from pathlib import Path

import dialects
import msgspec
import pytest
from match import Mismatch, check

from copilot_asgi.wire.models import Model

VECTORS = [json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "vectors").glob("*.json"))]
STREAMS = [vector for vector in VECTORS if vector["kind"] == "stream"]


def named(vectors: list[dict]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def translate(vector: dict, *, cut: int = 1_000_000) -> object:
    source, target = vector["from"], vector["to"]
    if vector["kind"] == "request":
        return dialects.request(source, target, vector["input"], msgspec.convert(vector["context"]["model"], Model))
    conversation = dialects.parsed(target, vector["context"]["request"])
    if vector["kind"] == "response":
        return dialects.answer(source, target, vector["input"], conversation)
    text = dialects.wire(vector["input"])
    return dialects.stream(source, target, (text[at : at + cut] for at in range(0, len(text), cut)), conversation)


@named(VECTORS)
def test_a_vector_holds(vector: dict) -> None:
    """The translation is what the vector expects."""
    check(vector, translate(vector))


@named(STREAMS)
@pytest.mark.parametrize("cut", [1, 2, 7, 64])
def test_a_stream_may_be_cut_anywhere(vector: dict, cut: int) -> None:
    """The bytes of the client's stream do not depend on how upstream's arrived, but for how texts are split."""
    check(vector, translate(vector, cut=cut))


@named(VECTORS)
def test_a_vector_can_fail(vector: dict) -> None:
    """Each one tells a wrong answer from a right one."""
    wrong: object = [] if vector["kind"] == "stream" else {}
    with pytest.raises(Mismatch):
        check(vector, wrong)


def test_the_vectors_cover_every_crossing() -> None:
    """Each dialect is read and written, as request and as answer."""
    assert {(vector["from"], vector["to"]) for vector in VECTORS} == set(dialects.CROSSED)
