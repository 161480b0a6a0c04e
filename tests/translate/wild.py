"""Conversations of any shape that the types allow: what a reader might ever give to a writer."""

from dialects import model
from generators import ANY_TEXT, CLOSED, LEGAL_IDS, NAMES, ODD_IDS, PNG
from hypothesis import strategies as st

from copilot_asgi.translate import conversation as c

TEXT = st.builds(c.Text, ANY_TEXT, st.booleans())
IMAGE = st.one_of(
    st.builds(c.Image, media_type=st.sampled_from(["image/png", "image/jpg", "image/bmp"]), data=st.just(PNG)),
    st.builds(c.Image, url=st.just("https://example.com/a.png"), detail=st.sampled_from(["", "low", "original"])),
)
DOCUMENT = st.one_of(
    st.builds(c.Document, media_type=st.just("application/pdf"), data=st.just("JVBERg=="), name=st.just("a.pdf")),
    st.builds(c.Document, url=st.just("https://example.com/a.pdf")),
)
SEAL = st.builds(c.Seal, st.sampled_from(c.SealOrigin), st.just("U0VBTA=="), st.just("rs_1"))
CALL_IDS = st.one_of(LEGAL_IDS, ODD_IDS, st.sampled_from(["", "a", "b"]))
CALL = st.one_of(
    st.builds(c.ToolCall, CALL_IDS, NAMES, st.sampled_from(["{}", "", "null", "[1]", '{"a":', '{"a": 1e400}', "raw"])),
    st.builds(c.ToolCall, CALL_IDS, NAMES, ANY_TEXT, freeform=st.just(value=True)),
)
RESULT = st.builds(
    c.ToolResult, CALL_IDS, st.lists(st.one_of(TEXT, IMAGE, DOCUMENT), max_size=2).map(tuple), st.booleans()
)
THINKING = st.builds(c.Thinking, ANY_TEXT, st.none() | SEAL)
SAYS = {
    c.Role.USER: st.one_of(TEXT, IMAGE, DOCUMENT, RESULT),
    c.Role.ASSISTANT: st.one_of(
        TEXT, st.builds(c.Thinking, ANY_TEXT, st.none() | SEAL), st.builds(c.Refusal, ANY_TEXT), CALL
    ),
    c.Role.SYSTEM: TEXT,
}
TURNS = st.one_of(
    *(st.builds(c.Turn, st.just(role), st.lists(said, max_size=3).map(tuple)) for role, said in SAYS.items())
)
GO = c.Turn(c.Role.USER, (c.Text("go"),))
SCHEMAS = st.sampled_from(
    [b"", CLOSED, b"true", b"{}", b'{"anyOf":[{"type":"object"}]}', b'{"type":["object","null"]}']
)
GRAMMAR = b'{"type":"grammar","syntax":"lark","definition":"start: /x/"}'
TOOL = st.builds(
    c.Tool,
    name=st.one_of(NAMES, st.sampled_from(["a.b", "x" * 70])),
    description=ANY_TEXT,
    schema=SCHEMAS,
    strict=st.none() | st.booleans(),
    freeform=st.booleans(),
    grammar=st.sampled_from([b"", GRAMMAR]),
    cached=st.booleans(),
)
ALLOWED = st.lists(NAMES, min_size=1, max_size=2).map(tuple)
AUTO, REQUIRED = c.ToolChoiceMode.AUTO, c.ToolChoiceMode.REQUIRED
CHOICES = st.one_of(
    st.builds(c.ToolChoice, st.sampled_from(c.ToolChoiceMode), name=st.just("")),
    st.builds(c.ToolChoice, st.just(REQUIRED), name=NAMES),
    st.builds(c.ToolChoice, st.sampled_from([AUTO, REQUIRED]), allowed=ALLOWED),
)
CONVERSATIONS = st.builds(
    c.Conversation,
    model=st.just("some-model"),
    stream=st.booleans(),
    system=st.lists(TEXT, max_size=2).map(tuple),
    turns=st.lists(TURNS, max_size=6).map(lambda turns: (*turns, GO)),
    tools=st.lists(TOOL, max_size=3, unique_by=lambda tool: tool.name).map(tuple),
    tool_choice=st.none() | CHOICES,
    parallel=st.none() | st.booleans(),
    max_tokens=st.none() | st.integers(1, 100_000),
    sampling=st.builds(
        c.Sampling,
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
        stop=st.lists(ANY_TEXT, max_size=6).map(tuple),
    ),
    format=st.none()
    | st.builds(
        c.Format, schema=st.sampled_from([b"", CLOSED]), name=st.just("") | NAMES, strict=st.none() | st.booleans()
    ),
    reasoning=st.none()
    | st.builds(
        c.Reasoning,
        effort=st.none() | st.sampled_from(c.Effort),
        budget=st.none() | st.integers(0, 200_000),
        adaptive=st.booleans(),
        disabled=st.booleans(),
        show=st.none() | st.booleans(),
    ),
    include_usage=st.booleans(),
    include_seals=st.booleans(),
)
ABILITIES = st.fixed_dictionaries(
    {},
    optional={
        "reasoning_effort": st.sampled_from([[], ["low"], ["none", "low", "high"], ["medium", "max"]]),
        "adaptive_thinking": st.booleans(),
        "max_thinking_budget": st.sampled_from([0, 2000, 32_000]),
        "min_thinking_budget": st.sampled_from([0, 1024, 4000]),
        "structured_outputs": st.booleans(),
        "vision": st.booleans(),
        "tool_calls": st.booleans(),
        "parallel_tool_calls": st.booleans(),
    },
)
MODELS = ABILITIES.map(lambda supports: model(**supports))
