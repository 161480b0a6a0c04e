"""Writers take whatever readers may give: a request that the vendor's own types know, or a refusal."""

import json

import dialects
import msgspec
import pytest
import sdk_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wild import CONVERSATIONS, MODELS

from copilot_asgi.errors import BadRequest, TranslationError
from copilot_asgi.translate.conversation import Conversation
from copilot_asgi.wire.models import Model

IDS = ["gpt-4.1", "gpt-5.4", "o3", "claude-opus-5", "claude-haiku-4.5", "gemini-3-pro", "some-model"]
many = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", dialects.NAMES)
@given(conversation=CONVERSATIONS, target=MODELS, model_id=st.sampled_from(IDS))
@many
def test_a_request_is_legal_or_refused(name: str, conversation: Conversation, target: Model, model_id: str) -> None:
    """For every conversation and every model; and writing it twice gives the same text."""
    target = msgspec.structs.replace(target, id=model_id)
    try:
        rendered = dialects.rendered(name, conversation, target)
    except (BadRequest, TranslationError):
        return
    body = json.loads(rendered.body)
    sdk_models.check_request(name, body)
    assert body["model"] == model_id
    assert bool(body.get("stream")) is conversation.stream
    assert dialects.rendered(name, conversation, target).body == rendered.body
    dialects.requests(name).parse_request(dialects.read_object(rendered.body), stream=conversation.stream)
