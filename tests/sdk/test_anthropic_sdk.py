"""The Anthropic SDK against the demo over TCP, with a model that speaks Anthropic's format natively."""

import json
from collections.abc import Iterator

import anthropic
import pytest
from anthropic import Anthropic
from anthropic.types import Message
from pydantic import BaseModel
from sdk.servers import Servers

pytestmark = pytest.mark.servers

MODEL = "claude-sonnet-4.6"
HELLO = [{"role": "user", "content": "Hello"}]
QUESTION = {"role": "user", "content": "Use get_weather and get_time with city=Paris"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"name": name, "description": "A tool.", "input_schema": CITY} for name in ("get_weather", "get_time")]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def client(servers: Servers) -> Iterator[Anthropic]:
    with Anthropic(base_url=servers.url, api_key="anything", max_retries=0, timeout=20) as client:
        yield client
    assert servers.violations() == []


def valid(answer: BaseModel) -> None:
    """Raises unless ``answer``, which the SDK made without looking closely, is what it promises."""
    type(answer).model_validate_json(json.dumps(answer.to_dict(mode="json")), strict=True)


def test_a_message_is_answered(client: Anthropic) -> None:
    """A message comes back whole and valid, with usage and a request id."""
    raw = client.messages.with_raw_response.create(model=MODEL, max_tokens=100, messages=HELLO)
    answer = raw.parse()

    Message.model_validate_json(raw.text(), strict=True)
    assert [(block.type, block.text) for block in answer.content] == [("text", "You said: Hello")]
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0
    assert answer._request_id


def test_a_stream_is_accumulated(client: Anthropic) -> None:
    """The SDK's stream helper gets every event it needs, and each is valid."""
    with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    events = list(client.messages.create(model=MODEL, max_tokens=100, messages=HELLO, stream=True))

    assert text == final.content[0].text == "You said: Hello"
    assert final.stop_reason == "end_turn"
    assert final.usage.input_tokens > 0
    assert final.usage.output_tokens > 0
    for event in events:
        valid(event)
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_and_their_results_read(client: Anthropic, streamed: bool) -> None:
    """Two tools are called at once, and the model reads what they returned."""
    asked = _answer(client, [QUESTION], streamed=streamed)
    calls = [block for block in asked.content if block.type == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": text}
        for call, text in zip(calls, ("Sunny", "Noon"), strict=True)
    ]
    history = [QUESTION, {"role": "assistant", "content": asked.content}, {"role": "user", "content": results}]
    answer = _answer(client, history, streamed=streamed)

    assert asked.stop_reason == "tool_use"
    assert [(call.name, call.input) for call in calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_time", {"city": "Paris"}),
    ]
    assert answer.content[0].text == "The tool says: Sunny; Noon"


def test_a_picture_is_seen(client: Anthropic) -> None:
    """A picture in the message reaches the model."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    content = [picture, {"type": "text", "text": "What is it?"}]
    answer = client.messages.create(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": content}])

    assert answer.content[0].text == "I see 1 image: image/png. You said: What is it?"


def test_thoughts_come_before_the_answer(client: Anthropic) -> None:
    """With thinking enabled, a thinking block with its signature precedes the text."""
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = client.messages.create(model=MODEL, max_tokens=2000, messages=HELLO, thinking=thinking)

    valid(answer)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].signature


def test_models_are_listed_page_by_page(client: Anthropic) -> None:
    """The SDK's pager sees every model once, whatever the size of a page, and can fetch a single one."""
    by_two = list(client.models.list(limit=2))
    at_once = list(client.models.list(limit=1000))

    assert [model.id for model in by_two] == [model.id for model in at_once]
    assert len({model.id for model in at_once}) == len(at_once) > 2
    for model in at_once:
        valid(model)
    assert client.models.retrieve(MODEL).id == MODEL


def test_refusals_are_the_sdks_own_errors(client: Anthropic, servers: Servers) -> None:
    """An unknown model, a bad request and a wrong key raise what the SDK documents for them."""
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(model="claude-9", max_tokens=9, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-9")
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="text-embedding-3-small", max_tokens=9, messages=HELLO)
    with (
        Anthropic(base_url=servers.keyed_url, api_key="not-the-key", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(model=MODEL, max_tokens=9, messages=HELLO)

    assert unknown.value.body["error"]["type"] == "not_found_error"
    assert unknown.value.request_id


@pytest.mark.parametrize("header", ["api_key", "auth_token"])
def test_a_key_opens_in_either_header(servers: Servers, header: str) -> None:
    """The key is taken as x-api-key and as a bearer token."""
    with Anthropic(base_url=servers.keyed_url, max_retries=0, **{header: servers.key}) as client:
        answer = client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)

    assert answer.content[0].text == "You said: Hello"


def _answer(client: Anthropic, messages: list[dict[str, object]], *, streamed: bool) -> Message:
    options = {"model": MODEL, "max_tokens": 1000, "messages": messages, "tools": TOOLS}
    if not streamed:
        answer = client.messages.create(**options)
        valid(answer)
        return answer
    with client.messages.stream(**options) as stream:
        return stream.get_final_message()
