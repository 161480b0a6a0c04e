"""A request in no dialect's words: what every dialect's ``parse_request`` gives and every ``render_request`` takes.

Rule: nothing is lost on the way in without being named. What a dialect cannot say it reports by field name (``Loss``)
or refuses; values that no writer needs to look into stay the JSON texts they were.
"""

from enum import Enum

import msgspec

__all__ = [
    "TOOL_ERROR",
    "Audio",
    "Conversation",
    "Document",
    "Effort",
    "Format",
    "Image",
    "Loss",
    "Part",
    "Reasoning",
    "Refusal",
    "Role",
    "Sampling",
    "Seal",
    "SealOrigin",
    "Text",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolChoiceMode",
    "ToolResult",
    "Turn",
]


TOOL_ERROR = "[tool error] "
"""What the text of a failed tool's result begins with in dialects that have no flag for that."""


class Role(Enum):
    """Who speaks. ``SYSTEM`` turns stand in the middle of a conversation; leading ones are ``Conversation.system``."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class Effort(Enum):
    """How hard a model shall think, the least first."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class SealOrigin(Enum):
    """Which kind of upstream made a sealed piece of reasoning; it may go back to that kind only."""

    SIGNATURE = "a"  # Anthropic: valid only with the exact text it signs
    REDACTED = "r"  # Anthropic: thinking that nobody may read
    RESPONSES = "o"  # OpenAI Responses: encrypted_content, with the id of its item
    CHAT = "c"  # Copilot's chat: reasoning_opaque
    GEMINI = "g"  # Google: thoughtSignature


class Seal(msgspec.Struct, frozen=True):
    """What only its origin can read. ``id`` is the item that ``data`` belongs to, where the origin insists on it."""

    origin: SealOrigin
    data: str
    id: str = ""
    phase: str = ""


class Text(msgspec.Struct, frozen=True, tag=True):
    """Plain text. ``cached``: the client marked the end of a prefix worth caching here."""

    text: str
    cached: bool = False


class Image(msgspec.Struct, frozen=True, tag=True):
    """An image: base64 ``data`` of ``media_type``, or a ``url`` on the web. ``detail`` is OpenAI's word, or empty."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    detail: str = ""
    cached: bool = False


class Document(msgspec.Struct, frozen=True, tag=True):
    """A file: base64 ``data`` of ``media_type`` (mostly PDF), or a ``url``. Text documents are ``Text`` already."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    name: str = ""
    cached: bool = False


class Audio(msgspec.Struct, frozen=True, tag=True):
    """A recording: base64 ``data`` in ``format`` (wav, mp3)."""

    data: str
    format: str


class Thinking(msgspec.Struct, frozen=True, tag=True):
    """What the model thought: visible ``text``, a ``seal``, or both."""

    text: str = ""
    seal: Seal | None = None


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """What the model said instead of an answer."""

    text: str


class ToolCall(msgspec.Struct, frozen=True, tag=True):
    """The model calls a tool. ``arguments`` is the text as the model wrote it: JSON, or raw text when ``freeform``."""

    id: str
    name: str
    arguments: str
    freeform: bool = False
    cached: bool = False


class ToolResult(msgspec.Struct, frozen=True, tag=True):
    """What a tool gave back to the call ``call_id``."""

    call_id: str
    parts: tuple[Text | Image | Document, ...] = ()
    is_error: bool = False
    cached: bool = False


Part = Text | Image | Document | Audio | Thinking | Refusal | ToolCall | ToolResult


class Turn(msgspec.Struct, frozen=True):
    """Consecutive parts of one speaker. Tool results are the user's."""

    role: Role
    parts: tuple[Part, ...]


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call; ``schema`` is the JSON text of its parameters' schema, empty when it has none.

    ``strict`` is ``None`` where the client said nothing. ``freeform`` tools take raw text; ``grammar`` is the JSON text
    of the format it must follow, or empty. ``namespace`` is the group that a Responses client declared it in; ``name``
    begins with it and two underscores then.
    """

    name: str
    description: str = ""
    schema: bytes = b""
    strict: bool | None = None
    freeform: bool = False
    grammar: bytes = b""
    namespace: str = ""
    cached: bool = False


class ToolChoiceMode(Enum):
    """Whether the model may, must not, or must call a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


class ToolChoice(msgspec.Struct, frozen=True):
    """``name`` forces one tool; ``allowed`` limits the choice to some (empty: all)."""

    mode: ToolChoiceMode
    name: str = ""
    allowed: tuple[str, ...] = ()


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer must look like: JSON of ``schema`` (its JSON text), or any JSON object when that is empty."""

    schema: bytes = b""
    name: str = ""
    description: str = ""
    strict: bool | None = None


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """How much to think. ``budget`` is in tokens; ``adaptive`` leaves it to the model; ``show`` asks to see it."""

    effort: Effort | None = None
    budget: int | None = None
    adaptive: bool = False
    disabled: bool = False
    show: bool | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How words are chosen."""

    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()


class Loss(msgspec.Struct, frozen=True):
    """A field that the other dialect cannot say. ``matters``: leaving it out may change the answer."""

    field: str
    matters: bool


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """One request. ``extra`` holds fields that only some dialects know (their JSON texts), by OpenAI's names:
    ``verbosity``, ``top_logprobs``, ``metadata``, ``prompt_cache_key`` and the like.

    ``include_usage``: a chat client asked for usage in its stream. ``include_seals``: a Responses client asked for
    encrypted reasoning. ``echo`` holds what a Responses answer repeats of its request (JSON texts).
    ``legacy_functions``: a chat client declared ``functions`` and waits for a ``function_call``.
    """

    model: str
    stream: bool
    system: tuple[Text, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    format: Format | None = None
    reasoning: Reasoning | None = None
    extra: dict[str, bytes] = {}
    include_usage: bool = False
    include_seals: bool = False
    legacy_functions: bool = False
    echo: dict[str, bytes] = {}
    losses: tuple[Loss, ...] = ()
