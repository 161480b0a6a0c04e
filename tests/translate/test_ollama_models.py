"""What Ollama clients ask beside the chat: models, versions, embeddings."""

import json

import msgspec
import pytest

from copilot_asgi.errors import BadRequest, MalformedResponse, UpstreamStatus
from copilot_asgi.translate.ollama_embed import embed_request, ollama_embed, ollama_embeddings
from copilot_asgi.translate.ollama_models import ollama_running, ollama_show, ollama_tags, ollama_version
from copilot_asgi.wire.models import Model
from copilot_asgi.wire.shallow import read_object

ABLE = {"tool_calls": True, "vision": True, "max_thinking_budget": 9}
CHAT = msgspec.convert(
    {
        "id": "claude-x.1",
        "capabilities": {
            "family": "claude-x",
            "limits": {"max_context_window_tokens": 200, "max_prompt_tokens": 100},
            "supports": ABLE,
        },
    },
    Model,
)
BARE = Model(id="bare")
EMBEDDINGS = msgspec.convert({"id": "e", "capabilities": {"type": "embeddings"}}, Model)


def test_tags() -> None:
    """Every model under its id, told apart by its digest."""
    chat, bare = json.loads(ollama_tags([CHAT, BARE]))["models"]
    assert (chat["name"], chat["model"], chat["details"]["family"]) == ("claude-x.1", "claude-x.1", "claude-x")
    assert (bare["details"]["family"], bare["details"]["families"]) == ("bare", ["bare"])
    assert chat["digest"] != bare["digest"]
    assert len(chat["digest"]) == 64


def test_show() -> None:
    """Clients look for the context length under the name of the architecture, and for what the model can do."""
    told = json.loads(ollama_show(CHAT))
    assert told["model_info"]["general.architecture"] == "claude-x"
    assert told["model_info"]["claude-x.context_length"] == 200
    assert told["capabilities"] == ["completion", "tools", "vision", "thinking"]


@pytest.mark.parametrize(("model", "expected"), [(BARE, ["completion"]), (EMBEDDINGS, ["embedding"])])
def test_show_what_is_not_known(model: Model, expected: list[str]) -> None:
    """What the catalog does not say is not claimed."""
    told = json.loads(ollama_show(model))
    assert told["capabilities"] == expected
    assert told["model_info"].keys() == {"general.architecture", "general.basename"}


def test_the_server_itself() -> None:
    """A version that no client takes for too old, and no model in memory."""
    assert tuple(map(int, json.loads(ollama_version())["version"].split("."))) >= (0, 6, 4)
    assert json.loads(ollama_running()) == {"models": []}


def asked(**fields: object) -> dict:
    told: dict = json.loads(embed_request(read_object(json.dumps(fields).encode())))
    return told


def test_embed_requests() -> None:
    """Both ways to ask become OpenAI's; what the other side does not know stays behind."""
    assert asked(model="e:latest", input="a") == {"model": "e", "input": ["a"]}
    assert asked(model="e", input=["a", "b"], dimensions=5, truncate=True) == {
        "model": "e",
        "input": ["a", "b"],
        "dimensions": 5,
    }
    assert asked(model="e", prompt="a", options={}) == {"model": "e", "input": ["a"]}


@pytest.mark.parametrize("fields", [{}, {"input": ""}, {"input": []}, {"input": [1]}, {"prompt": ""}])
def test_embed_requests_without_text(fields: dict) -> None:
    """There is nothing to embed."""
    with pytest.raises(BadRequest) as caught:
        asked(model="e", **fields)
    assert caught.value.param == "input"


DATA = [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [1, 2]}]


def test_embeddings() -> None:
    """Vectors come in the order of the texts, with the count of tokens where there is one."""
    body = json.dumps({"data": DATA, "usage": {"prompt_tokens": 5}}).encode()
    told = json.loads(ollama_embed(body, model="e"))
    assert (told["model"], told["embeddings"], told["prompt_eval_count"]) == ("e", [[1, 2], [3, 4.5]], 5)
    assert json.loads(ollama_embeddings(body)) == {"embedding": [1, 2]}
    assert json.loads(ollama_embed(b'{"data":[{"embedding":[1]}]}', model="e"))["prompt_eval_count"] == 0


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data":[]}', b'{"data":[{}]}', b"[]"])
def test_broken_embeddings(body: bytes) -> None:
    """An answer without vectors is none."""
    with pytest.raises(MalformedResponse):
        ollama_embed(body, model="e")


def test_an_error_in_place_of_embeddings() -> None:
    """It is told as the error it is."""
    with pytest.raises(UpstreamStatus) as caught:
        ollama_embeddings(b'{"error":{"message":"m","code":"rate_limited"}}')
    assert caught.value.status == 429
