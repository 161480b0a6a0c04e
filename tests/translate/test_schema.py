"""Schemas made fit: repaired where a vendor refuses, untouched to the byte where none does."""

import json

import pytest

from copilot_asgi.translate.schema import (
    FREEFORM_SCHEMA,
    closed,
    for_messages,
    for_openai,
    freeform_arguments,
    freeform_description,
    freeform_input,
    qualifies_for_strict,
)

EMPTY = {"type": "object", "properties": {}}
STRING, NUMBER = {"type": "string"}, {"type": "number"}
AWKWARD = (
    b'{"type": "object", "properties": {"type": {"type":"string"}, "$id": {"const": 1e400},'
    b' "anyOf": {"maximum": 12345678901234567890123}}}'
)
NO_OBJECTS = [b"", b"null", b"true", b"[]", b"3", b'"x"', b"{", b"\xff"]


def obj(required: list[str] | None = None, /, **properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def text(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("schema", NO_OBJECTS)
def test_no_schema_is_an_object_without_properties(schema: bytes) -> None:
    """Both vendors want an object; a schema that is none says nothing."""
    assert json.loads(for_messages(schema)) == EMPTY
    assert json.loads(for_openai(schema)) == EMPTY


@pytest.mark.parametrize("schema", [AWKWARD, text(obj(["a"], a=STRING) | {"nullable": True})])
def test_a_schema_that_fits_keeps_its_text(schema: bytes) -> None:
    """Properties may have the names of keywords, and numbers keep their digits."""
    assert for_messages(schema) == schema
    assert for_openai(schema) == schema


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$schema": "x", "$id": "y", **obj(a=STRING)}, obj(a=STRING)),
        ({"properties": {"a": STRING}}, {"properties": {"a": STRING}, "type": "object"}),
        ({"type": ["object", "null"]}, {"type": "object"}),
        ({}, {"type": "object"}),
    ],
)
def test_the_root_for_anthropic_is_an_object(schema: dict[str, object], expected: dict[str, object]) -> None:
    """Its type is put right, and what only a schema document needs is gone."""
    assert json.loads(for_messages(text(schema))) == expected


DEFS = {"$defs": {"P/q": obj(["a"], a=STRING), "Loop": {"$ref": "#/$defs/Loop", "properties": {"l": NUMBER}}}}


@pytest.mark.parametrize(
    ("schema", "properties", "required"),
    [
        ({"anyOf": [obj(a=STRING), obj(b=NUMBER)]}, {"a": STRING, "b": NUMBER}, None),
        ({"anyOf": [obj(["a", "k"], a=STRING, k=STRING), obj(["k"], k=STRING)]}, {"a": STRING, "k": STRING}, ["k"]),
        ({"oneOf": [obj(k={"const": 1}), obj(k={"const": 2})]}, {"k": {"anyOf": [{"const": 1}, {"const": 2}]}}, None),
        ({"oneOf": [obj(["a"], a=STRING), {"type": "null"}]}, {"a": STRING}, None),
        ({"anyOf": [obj(["a"], a=STRING), True]}, {"a": STRING}, None),
        ({"allOf": [obj(["a"], a=STRING), obj(["b"], b=NUMBER)]}, {"a": STRING, "b": NUMBER}, ["a", "b"]),
        ({**obj(["o"], o=STRING), "anyOf": [obj(["a"], a=STRING)]}, {"a": STRING, "o": STRING}, ["o", "a"]),
        ({"allOf": [{"anyOf": [obj(["a"], a=STRING)]}]}, {"a": STRING}, ["a"]),
        ({"$ref": "#/$defs/P~1q", **DEFS}, {"a": STRING}, ["a"]),
        ({"$ref": "#/$defs/Loop", **DEFS}, {"l": NUMBER}, None),
        ({"$ref": "#/$defs/Nobody", **DEFS}, {}, None),
        ({"$ref": "#/type/x", "type": "object"}, {}, None),
        ({"$ref": "https://example.com/s.json"}, {}, None),
    ],
)
def test_combinations_at_the_root_become_one_object(
    schema: dict[str, object], properties: dict[str, object], required: list[str] | None
) -> None:
    """Properties of all branches; required is what every branch of a choice, or any of a sum, requires."""
    merged = json.loads(for_messages(text(schema)))
    assert merged["type"] == "object"
    assert merged["properties"] == properties
    assert merged.get("required") == required
    assert not merged.keys() & {"anyOf", "oneOf", "allOf", "$ref"}


def test_the_combination_stays_as_text() -> None:
    """A model can still read what the schema no longer says, behind the description that was there."""
    schema = {"description": "A shape.", "anyOf": [obj(["a"], a=STRING)]}
    start, hint = json.loads(for_messages(text(schema)))["description"].split("\n\n")
    assert start == "A shape."
    assert json.loads(hint.partition(": ")[2]) == {"anyOf": schema["anyOf"]}


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": "odd"},
        {"anyOf": [], "required": 3},
        {"$ref": 3},
        {"anyOf": [], "description": 3},
        {"allOf": [{"properties": []}]},
    ],
)
def test_a_broken_combination_says_nothing(schema: dict[str, object]) -> None:
    """Upstream would refuse the whole request for one such tool."""
    assert json.loads(for_messages(text(schema))) == EMPTY


def test_references_cannot_grow_without_end() -> None:
    """Each is followed once, however often it stands there."""
    defs = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)} | {"d60": obj(a=STRING)}
    merged = json.loads(for_messages(text({"$ref": "#/$defs/d0", "$defs": defs})))
    assert merged["properties"] == {"a": STRING}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object"}, EMPTY),
        ({"properties": {"a": STRING}}, obj(a=STRING)),
        ({"type": "object", "anyOf": [obj(a=STRING)]}, EMPTY | {"anyOf": [obj(a=STRING)]}),
    ],
)
def test_openai_gets_properties(schema: dict[str, object], expected: dict[str, object]) -> None:
    """An object names its properties, be there none."""
    assert json.loads(for_openai(text(schema))) == expected


def strict(**properties: object) -> dict[str, object]:
    return obj(list(properties), **properties) | {"additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "qualifies"),
    [
        (strict(), True),
        (strict(a=STRING, b={"type": ["string", "null"], "enum": ["x", None]}), True),
        (strict(a=strict(b=NUMBER)), True),
        (strict(type=STRING, allOf=NUMBER), True),
        (strict(a={"type": "array", "items": strict(b=NUMBER)}), True),
        (strict(a={"anyOf": [strict(b=NUMBER), {"$ref": "#/$defs/D"}]}) | {"$defs": {"D": strict()}}, True),
        (strict() | {"$defs": {"D": obj()}}, False),
        (obj(a=STRING), False),
        (obj(["a"], a=STRING), False),
        (strict(a=STRING) | {"required": []}, False),
        (strict(a=STRING) | {"additionalProperties": STRING}, False),
        (strict(a={"type": "string", "minLength": 1}), False),
        (strict(a={"type": "object"}), False),
        (strict(a={"type": ["object", "null"]}), False),
        (strict(a={}), False),
        (strict(a={"description": "anything"}), False),
        (strict(a=True), False),
        (strict(a={"anyOf": [obj(b=NUMBER)]}), False),
        (strict(a={"type": "array", "items": obj(b=NUMBER)}), False),
        (strict(a={"allOf": [strict()]}), False),
        ({"anyOf": [strict()]}, False),
        (strict() | {"anyOf": [strict()]}, False),
        (STRING, False),
        (strict() | {"required": 3}, False),
    ],
)
def test_strict_mode_means_the_same(schema: dict[str, object], qualifies: bool) -> None:
    """Every object closed and all of it required, and no word that OpenAI refuses there."""
    assert qualifies_for_strict(text(schema)) is qualifies


@pytest.mark.parametrize("schema", NO_OBJECTS)
def test_what_is_no_schema_does_not_qualify(schema: bytes) -> None:
    """Strict mode needs an object."""
    assert not qualifies_for_strict(schema)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (obj(a=STRING), strict(a=STRING) | {"required": None}),
        (obj(a={"type": "object"}), None),
        (obj(additionalProperties=STRING), None),
    ],
)
def test_objects_are_closed(schema: dict[str, object], expected: object) -> None:
    """Also those inside; properties of that name are data."""
    after = json.loads(closed(text(schema)))
    assert after["additionalProperties"] is False
    assert after["properties"].keys() == schema["properties"].keys()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"items": {"type": "object"}}, {"items": {"type": "object", "additionalProperties": False}}),
        (
            {"anyOf": [{"type": "object"}, STRING]},
            {"anyOf": [{"type": "object", "additionalProperties": False}, STRING]},
        ),
        ({"$defs": {"D": {"type": "object"}}}, {"$defs": {"D": {"type": "object", "additionalProperties": False}}}),
        ({"const": {"type": "object"}}, {"const": {"type": "object"}}),
        ({"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": True}),
        ({"items": True, "$defs": [], "anyOf": {}}, {"items": True, "$defs": [], "anyOf": {}}),
    ],
)
def test_only_schemas_are_closed(schema: dict[str, object], expected: dict[str, object]) -> None:
    """Wherever a schema may stand, and nowhere else; what the client opened stays open."""
    assert json.loads(closed(text(schema))) == expected


@pytest.mark.parametrize("schema", [*NO_OBJECTS, text(strict(a={"items": [STRING]})), b'{ "const": 1e400 }'])
def test_what_needs_no_closing_keeps_its_text(schema: bytes) -> None:
    """Nothing is written anew for nothing."""
    assert closed(schema) == schema


def test_endless_nesting_is_left_alone() -> None:
    """Upstream may judge a schema that is nested too deeply to be read."""
    deep = b'{"items":' * 5000 + b"{}" + b"}" * 5000
    assert closed(deep) == deep
    assert not qualifies_for_strict(b'{"type":"object","items":' + deep + b"}")


LARK = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}


@pytest.mark.parametrize("grammar", [LARK, {"type": "grammar", "grammar": LARK}])
def test_a_grammar_is_told_in_the_description(grammar: dict[str, object]) -> None:
    """Both of OpenAI's ways to write it."""
    told = freeform_description("Edit files.", text(grammar))
    assert told.startswith("Edit files.\n\n")
    assert "raw text" in told
    assert told.endswith('must follow this lark grammar:\nstart: "x"')


@pytest.mark.parametrize("grammar", [b"", b'{"type":"text"}', b"null"])
def test_without_a_grammar_only_the_place_is_told(grammar: bytes) -> None:
    """One sentence, and no empty line where there was no description."""
    told = freeform_description("", grammar)
    assert told.startswith("Put the whole raw text")
    assert "grammar" not in told


@pytest.mark.parametrize("raw", ["", '*** Begin Patch\n"quoted" \\ 語 \u2028', '{"input":"x"}'])
def test_freeform_text_survives_as_arguments(raw: str) -> None:
    """There and back is the same text, and the arguments keep to the schema."""
    arguments = freeform_arguments(raw)
    assert json.loads(arguments).keys() == json.loads(FREEFORM_SCHEMA)["properties"].keys()
    assert freeform_input(arguments) == raw


@pytest.mark.parametrize("arguments", ["raw", '{"input":', '{"input":3}', '{"input":"x","more":1}', '{"text":"x"}', ""])
def test_other_arguments_are_the_text_itself(arguments: str) -> None:
    """A model that ignores the schema still gets its text through."""
    assert freeform_input(arguments) == arguments


def test_the_schema_of_a_freeform_function_is_strict() -> None:
    """Every upstream takes it as it is."""
    assert qualifies_for_strict(FREEFORM_SCHEMA)
    assert for_messages(FREEFORM_SCHEMA) == for_openai(FREEFORM_SCHEMA) == closed(FREEFORM_SCHEMA) == FREEFORM_SCHEMA
