"""``/embeddings`` (checklist line 49)."""

import pytest
from simulator_client import rules

pytestmark = pytest.mark.anyio
SMALL = "text-embedding-3-small"


async def embed(client, **body):
    return await client.call("/embeddings", {"model": SMALL, "input": ["a"], **body}, x_initiator="")


async def test_49_embeddings_have_neither_object_nor_model(client):
    """Numbers per input, the same for the same text, floats even when base64 was asked for."""
    answer = (await embed(client, input=["a", "b", "a"], encoding_format="base64")).json
    assert answer.keys() == {"data", "usage"}
    assert [(entry["object"], entry["index"]) for entry in answer["data"]] == [("embedding", i) for i in range(3)]
    vectors = [entry["embedding"] for entry in answer["data"]]
    assert vectors[0] == vectors[2] != vectors[1]
    assert (len(vectors[0]), type(vectors[0][0])) == (1536, float)
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert client.simulator.violations == []


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"input": "a"}, "embeddings-input"),
        ({"input": []}, "embeddings-input"),
        ({"input": [[1, 2]]}, "embeddings-input"),
        ({"input": ["a"] * 513}, "embeddings-count"),
        ({"input": ["x" * 40_000]}, "embeddings-length"),
        ({"model": "text-embedding-ada-002", "dimensions": 8}, "embeddings-dimensions"),
    ],
)
async def test_49_what_embeddings_refuse(client, body, rule):
    """A bare string, token lists, too many, too long, dimensions where they are fixed."""
    assert (await embed(client, **body)).code == "invalid_request_body"
    assert rules(client.simulator) == [rule]


async def test_49_limits_and_dimensions(client):
    """512 inputs pass, and so do fewer dimensions."""
    assert len((await embed(client, input=["a"] * 512, dimensions=2)).json["data"][0]["embedding"]) == 2
