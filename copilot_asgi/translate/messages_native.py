"""What a Messages request must not say to Copilot's own Messages endpoint, which is stricter than Anthropic's.

Rule: the least that makes upstream take it. What is refused stands in tables; a key is opened only when something in it
may have to change, and what needs no change is not in the answer, so that its bytes go on as they came.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.conversation import Effort, Reasoning
from copilot_asgi.translate.messages_cache import BREAKPOINTS
from copilot_asgi.translate.messages_reading import Place
from copilot_asgi.translate.messages_render import CONTINUE
from copilot_asgi.translate.messages_request import read_reasoning
from copilot_asgi.translate.messages_thinking import plan
from copilot_asgi.translate.seals import is_wrapped
from copilot_asgi.wire.models import Model, Supports
from copilot_asgi.wire.shallow import Fields, is_null, starts_with

__all__ = ["prepare_native"]
