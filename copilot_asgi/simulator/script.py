"""What a test or a person tells the simulator to answer: replies, and the faults that befall them.

Rule: both are data that survive JSON, so a script can come from Python or through ``POST /_simulator/script``.
"""

from enum import Enum

import msgspec

from copilot_asgi.simulator.access import Object

__all__ = ["Fault", "Finish", "Quirk", "Reply", "Usage"]


class Finish(Enum):
    """Why the model stopped, in no dialect's words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    ERROR = "error"


class Quirk(Enum):
    """One way in which the real service departs from the vendor's format."""

    # Chat, both modes.
    NO_OBJECT = "no_object"
    SPLIT_CHOICES = "split_choices"
    CHOICE_PER_CALL = "choice_per_call"
    NO_CHOICE_INDEX = "no_choice_index"
    NO_DELTA_INDEX = "no_delta_index"
    NO_ROLE = "no_role"
    NO_FINISH = "no_finish"
    EMPTY_CHOICES = "empty_choices"
    ANTHROPIC_BODY = "anthropic_body"
    PADDING = "padding"
    NO_CALL_INDEX = "no_call_index"
    SAME_CALL_INDEX = "same_call_index"
    NO_CALL_TYPE = "no_call_type"
    FUNCTION_CALL = "function_call"
    COT_FIELDS = "cot_fields"
    THINKING_FIELDS = "thinking_fields"
    OPAQUE_FIRST = "opaque_first"
    OPAQUE_WITH_TEXT = "opaque_with_text"
    REASONING_LAST = "reasoning_last"
    # Chat streams.
    FILTER_FIRST = "filter_first"
    USAGE_NULL = "usage_null"
    USAGE_ON_FINISH = "usage_on_finish"
    NO_USAGE = "no_usage"
    ZERO_USAGE = "zero_usage"
    METADATA_CHUNK = "metadata_chunk"
    DOUBLE_FINISH = "double_finish"
    SPLIT_FINISH = "split_finish"
    ANNOTATIONS = "annotations"
    REFERENCES = "references"
    CONFIRMATION = "confirmation"
    AGENT_ERRORS = "agent_errors"
    OLD_AZURE = "old_azure"
    WHOLE_ARGUMENTS = "whole_arguments"
    NO_DONE = "no_done"
    # Responses.
    STABLE_IDS = "stable_ids"
    SUMMARY_AT_END = "summary_at_end"
    BLOB_AT_START = "blob_at_start"
    OBFUSCATION = "obfuscation"
    INNER_STATUS = "inner_status"
    SEALED_ARGUMENTS = "sealed_arguments"
    CHAT_SHAPED_END = "chat_shaped_end"
    FAILED = "failed"
    QUOTA_SNAPSHOTS = "quota_snapshots"
    # Messages.
    PING = "ping"
    BEDROCK_METRICS = "bedrock_metrics"
    VERTEX_IDS = "vertex_ids"
    CITATIONS = "citations"
    REDACTED = "redacted"
    DONE_LINE = "done_line"
    # Every stream.
    WHITESPACE_FLOOD = "whitespace_flood"
    CRLF = "crlf"
    SPLIT_BYTES = "split_bytes"
    ONE_BYTE = "one_byte"
    ONE_SEGMENT = "one_segment"


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer. The prompt is ``fresh + cache_read + cache_write``; ``output`` holds ``reasoning``."""

    fresh: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt, cached or not."""
        return self.fresh + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        """Prompt and output together."""
        return self.prompt + self.output


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong with one answer. Events are counted from 0, a negative count from the end; times are seconds.

    With ``status`` it is the answer; otherwise it befalls the answer that would have been given. ``drop`` closes the
    connection before the head (some servers make a 500 of that), ``abort`` in the middle, where a cut would end the
    response cleanly. ``hang_after`` waits until the client leaves.
    """

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    delay: float = 0.0
    drop: bool = False
    cut_after: int | None = None
    cut_bytes: int | None = None
    abort: bool = False
    hang_after: int | None = None
    error_after: int | None = None
    error: Object | None = None
    garbage_after: int | None = None
    gap: float = 0.0
    comments: int = 0
    endless_comments: bool = False
    duplicate: bool = False


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model says. ``size`` is characters a stream event, ``delay`` seconds between events.

    ``quirks`` come on top of those of the model's family, ``plain`` takes the family's away. ``tool_calls`` hold a name
    and arguments: an object, or the text as the model wrote it (which need not be JSON).
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[tuple[str, Object | str], ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    size: int = 12
    delay: float = 0.0
    quirks: frozenset[Quirk] = frozenset()
    plain: bool = False
    fault: Fault | None = None

    @property
    def calls(self) -> tuple[tuple[str, str], ...]:
        """Name and argument text of each call."""
        return tuple(
            (name, given if isinstance(given, str) else msgspec.json.encode(given).decode())
            for name, given in self.tool_calls
        )

    @property
    def ending(self) -> Finish:
        """``finish``, or what follows from there being calls."""
        return self.finish or (Finish.TOOL_CALLS if self.tool_calls else Finish.STOP)
