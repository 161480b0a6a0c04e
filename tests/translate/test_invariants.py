"""What holds for every request, whatever is in it: nothing is lost, nothing leaks, nothing but a refusal is raised."""

import json

import dialects
import msgspec
import pytest
import sdk_models
from generators import BODIES, KEYS, ODD_IDS, conversations, damage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilot_asgi.errors import BadRequest, TranslationError
from copilot_asgi.translate.conversation import (
    Conversation,
    Image,
    Part,
    Role,
    Seal,
    SealOrigin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from copilot_asgi.wire.shallow import read_object

each_dialect = pytest.mark.parametrize("name", dialects.NAMES)
each_crossing = pytest.mark.parametrize(("client", "upstream"), dialects.CROSSED)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# What travels back to a dialect that made it, and nowhere else.
HOMES = {
    SealOrigin.SIGNATURE: "messages",
    SealOrigin.REDACTED: "messages",
    SealOrigin.RESPONSES: "responses",
    SealOrigin.CHAT: "chat",
}


def written(name: str, conversation: Conversation) -> dict:
    """The request in one dialect."""
    body: dict = json.loads(dialects.rendered(name, conversation).body)
    return body


def again(name: str, conversation: Conversation) -> Conversation:
    """The conversation written in one dialect and read again."""
    return dialects.parsed(name, written(name, conversation))


def facts(conversation: Conversation) -> dict[str, object]:
    """What a conversation says, without the free choices of how to say it."""
    numbers: dict[str, int] = {}
    said = [(turn.role, fact(part, numbers)) for turn in conversation.turns for part in turn.parts]
    choice = conversation.tool_choice
    return {
        "system": "\n\n".join(text.text for text in conversation.system),
        "turns": said,
        "tools": [(tool.name, tool.description, json.loads(tool.schema)) for tool in conversation.tools],
        "choice": choice and (choice.mode, choice.name),
        "parallel": conversation.parallel,
        "limit": conversation.max_tokens,
        "temperature": conversation.sampling.temperature,
        "format": conversation.format and json.loads(conversation.format.schema),
        "stream": conversation.stream,
    }


def fact(part: Part, numbers: dict[str, int]) -> object:
    """A part; calls by number instead of by id, arguments by value."""
    match part:
        case Text(text):
            return text
        case Image():
            return part.media_type, part.data
        case ToolCall():
            numbers[part.id] = len(numbers)
            return numbers[part.id], part.name, json.loads(part.arguments)
        case ToolResult():
            texts = "".join(each.text for each in part.parts if isinstance(each, Text))
            images = sum(isinstance(each, Image) for each in part.parts)
            return numbers[part.call_id], texts, images, part.is_error
    return part


def wanted(conversation: Conversation) -> dict[str, object]:
    """The facts, where parallel calls being allowed without a choice is the same as an automatic choice."""
    said = facts(conversation)
    if said["parallel"] is False and said["choice"] is None:
        said["choice"] = (dialects.AUTO, "")
    return said


@each_dialect
@given(conversation=conversations())
@few
def test_a_conversation_survives_being_written_and_read(name: str, conversation: Conversation) -> None:
    """What a dialect can carry comes back as it was: roles, texts, calls, results, tools, choices, limits, format."""
    assert wanted(again(name, conversation)) == wanted(conversation)


@each_crossing
@given(conversation=conversations(ids=ODD_IDS))
@few
def test_a_request_survives_the_way_there_and_back(client: str, upstream: str, conversation: Conversation) -> None:
    """Through two dialects nothing that both can say is lost, and results still belong to their calls."""
    there = again(upstream, again(client, conversation))
    assert wanted(again(client, there)) == wanted(conversation)


@pytest.mark.parametrize(("client", "upstream"), [("messages", "responses"), ("responses", "messages")])
@given(conversation=conversations(images_in_results=True))
@few
def test_images_in_results_survive(client: str, upstream: str, conversation: Conversation) -> None:
    """Messages and Responses carry them natively."""
    assert wanted(again(upstream, again(client, conversation))) == wanted(conversation)


@given(conversation=conversations(images_in_results=True))
@few
def test_images_in_results_move_behind_them_for_chat(conversation: Conversation) -> None:
    """Chat's tool messages hold texts only; no image is lost, and each result is where it was."""

    def images(turns: tuple[Turn, ...]) -> int:
        inner = [each for turn in turns for part in turn.parts for each in getattr(part, "parts", (part,))]
        return sum(isinstance(each, Image) for each in inner)

    assert images(again("chat", conversation).turns) == images(conversation.turns)


@each_dialect
@given(conversation=conversations(ids=ODD_IDS, images_in_results=True))
@few
def test_the_vendor_s_types_take_what_we_write(name: str, conversation: Conversation) -> None:
    """Every request validates against the official library's parameters, which know every key in it."""
    sdk_models.check_request(name, written(name, conversation))


@each_dialect
@given(conversation=conversations(ids=ODD_IDS), seed=st.data())
@few
def test_the_same_conversation_is_always_the_same_text(
    name: str, conversation: Conversation, seed: st.DataObject
) -> None:
    """Prompt caches depend on it; and what is translated is not changed by it."""
    before = msgspec.json.encode(conversation)
    assert written(name, conversation) == written(name, conversation)
    assert msgspec.json.encode(conversation) == before


@pytest.mark.parametrize("origin", HOMES)
@each_dialect
@given(conversation=conversations())
@few
def test_a_seal_goes_home_or_nowhere(name: str, origin: SealOrigin, conversation: Conversation) -> None:
    """Upstream refuses what another kind of upstream has sealed, so it never sees it; nor thinking as plain text."""
    thought = Thinking("SECRET THOUGHT", Seal(origin, "SEALED-BLOB", id="rs_1"))
    turns = [
        Turn(turn.role, (thought, *turn.parts) if turn.role is Role.ASSISTANT else turn.parts)
        for turn in conversation.turns
    ]
    body = written(name, msgspec.structs.replace(conversation, turns=tuple(turns)))
    if HOMES[origin] != name:
        assert "SEALED-BLOB" not in json.dumps(body)
    assert not in_texts(body, "SECRET THOUGHT")


def in_texts(value: object, text: str) -> bool:
    """Whether a text stands where a model reads prose."""
    match value:
        case dict():
            prose = [
                value.get(key) for key in ("text", "content") if value.get("type") not in {"summary_text", "thinking"}
            ]
            return any(isinstance(each, str) and text in each for each in prose) or in_texts(list(value.values()), text)
        case list():
            return any(in_texts(each, text) for each in value)
    return False


@each_crossing
@given(body=st.dictionaries(KEYS, BODIES, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_a_request_or_a_refusal(client: str, upstream: str, body: dict) -> None:
    """Whatever a client sends, it gets a request through or a 400 in its own words."""
    try:
        conversation = dialects.requests(client).parse_request(read_object(json.dumps(body).encode()), stream=False)
        json.loads(dialects.rendered(upstream, conversation).body)
    except (BadRequest, TranslationError):
        return


@each_crossing
@given(conversation=conversations(), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_request_is_a_request_or_a_refusal(
    client: str, upstream: str, conversation: Conversation, data: st.DataObject
) -> None:
    """One odd value in a sound request is harder than noise: everything around it is read."""
    body = written(client, conversation)
    damage(body, data.draw)
    try:
        read = dialects.requests(client).parse_request(read_object(json.dumps(body).encode()), stream=False)
        json.loads(dialects.rendered(upstream, read).body)
    except (BadRequest, TranslationError):
        return
