"""JSON schemas of tools and answers, made fit for one vendor or the other; and freeform tools as functions.

Rule: look only where a schema stands. A property may be called ``type`` or ``$id``; names of properties are data.
Whatever needs no repair keeps its text to the byte.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from copilot_asgi.translate.schema_root import EMPTY_SCHEMA, merged_root
from copilot_asgi.wire.shallow import NOT_JSON, Fields, read_array, read_object, starts_with

__all__ = [
    "FREEFORM_SCHEMA",
    "closed",
    "for_messages",
    "for_openai",
    "freeform_arguments",
    "freeform_description",
    "freeform_input",
    "qualifies_for_strict",
]

FREEFORM_SCHEMA = (
    b'{"type":"object","properties":{"input":{"type":"string","description":"The whole raw text."}},'
    b'"required":["input"],"additionalProperties":false}'
)
"""The parameters of a function that stands for a freeform tool."""

# Where schemas stand inside a schema: alone or in a list; and by names that are data.
_SCHEMAS = frozenset(
    {"additionalProperties", "allOf", "anyOf", "contains", "else", "if", "items", "not", "oneOf", "prefixItems", "then"}
)
_NAMED_SCHEMAS = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
# What OpenAI takes in strict mode: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_STRICT_KEYWORDS = frozenset(
    {"$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "definitions", "description", "enum"}
    | {"exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems", "minimum"}
    | {"multipleOf", "pattern", "properties", "required", "title", "type"}
)
_STRICT_SORTS = frozenset({"$ref", "anyOf", "type"})
_FALSE = msgspec.Raw(b"false")
_NOTHING = msgspec.Raw(b"{}")
_OBJECT = msgspec.Raw(b'"object"')

_names_decoder = msgspec.json.Decoder(list[str])


def for_messages(schema: bytes) -> bytes:
    """A tool's schema as Anthropic takes it: an object at the root, combinations there merged into one object.

    What merging loses is kept as text in the description. No schema, or one that is no object, becomes that of an
    object without properties.
    """
    try:
        root = read_object(schema)
        fields = merged_root({key: value for key, value in root.items() if key not in {"$schema", "$id"}})
    except NOT_JSON:
        return EMPTY_SCHEMA
    if fields.get("type") != _OBJECT:
        fields = {**fields, "type": _OBJECT}
    return schema if fields == root else msgspec.json.encode(fields)


def for_openai(schema: bytes) -> bytes:
    """A tool's schema as OpenAI takes it: an object that names its properties, be there none."""
    try:
        fields = read_object(schema)
    except NOT_JSON:
        return EMPTY_SCHEMA
    if "type" in fields and "properties" in fields:
        return schema
    return msgspec.json.encode({"type": _OBJECT, "properties": _NOTHING, **fields})


def qualifies_for_strict(schema: bytes) -> bool:
    """Whether OpenAI's strict mode means the same: every object is closed and every property of it required.

    Elsewhere strict mode would refuse the schema, or make optional properties required.
    """
    try:
        root = read_object(schema)
        return _is_object(root) and "anyOf" not in root and _is_strict(msgspec.Raw(schema))
    except NOT_JSON:
        return False


def closed(schema: bytes) -> bytes:
    """The schema with every object that does not say otherwise closed to further properties."""
    try:
        return bytes(_closed(msgspec.Raw(schema)))
    except NOT_JSON:
        return schema


def _is_object(fields: Fields) -> bool:
    return "properties" in fields or b'"object"' in bytes(fields.get("type", b""))


def _is_strict(schema: msgspec.Raw) -> bool:
    fields = read_object(schema)
    if not (fields.keys() <= _STRICT_KEYWORDS and fields.keys() & _STRICT_SORTS):
        return False
    if _is_object(fields) and not _is_strict_object(fields):
        return False
    return all(_is_strict(child) for child in _children(fields))


def _is_strict_object(fields: Fields) -> bool:
    names = read_object(fields.get("properties", _NOTHING)).keys()
    required = _names_decoder.decode(fields.get("required", b"[]"))
    return fields.get("additionalProperties") == _FALSE and names == set(required)


def _children(fields: Fields) -> Iterator[msgspec.Raw]:
    for key, value in fields.items():
        if key in _NAMED_SCHEMAS:
            yield from read_object(value).values()
        elif key in _SCHEMAS and starts_with(value, b"["):
            yield from read_array(value)
        elif key in _SCHEMAS and value != _FALSE:
            yield value


def _closed(schema: msgspec.Raw) -> msgspec.Raw:
    if not starts_with(schema, b"{"):
        return schema
    before = read_object(schema)
    after = {key: _changed(key, value, _closed) for key, value in before.items()}
    if _is_object(after):
        after.setdefault("additionalProperties", _FALSE)
    return schema if after == before else msgspec.Raw(msgspec.json.encode(after))


def _changed(key: str, value: msgspec.Raw, change: Callable[[msgspec.Raw], msgspec.Raw]) -> msgspec.Raw:
    """``value`` of a schema's ``key`` with ``change`` made to each schema that stands there."""
    if key in _NAMED_SCHEMAS and starts_with(value, b"{"):
        named = read_object(value)
        return _joined(value, named, {name: change(each) for name, each in named.items()})
    if key in _SCHEMAS and starts_with(value, b"["):
        listed = read_array(value)
        return _joined(value, listed, [change(each) for each in listed])
    return change(value) if key in _SCHEMAS else value


def _joined(text: msgspec.Raw, before: Iterable[object], after: Iterable[object]) -> msgspec.Raw:
    return text if before == after else msgspec.Raw(msgspec.json.encode(after))


class _Grammar(msgspec.Struct, frozen=True):
    syntax: str
    definition: str


class _Nested(msgspec.Struct, frozen=True):
    grammar: _Grammar


_grammar_decoder = msgspec.json.Decoder(_Grammar)
_nested_decoder = msgspec.json.Decoder(_Nested)


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input: str


_input_decoder = msgspec.json.Decoder(_Input)


def freeform_description(description: str, grammar: bytes) -> str:
    """The description of a function that stands for a freeform tool; ``grammar`` is the JSON text of its format."""
    how = "Put the whole raw text for this tool, unchanged, into the property 'input'."
    rule = _grammar(grammar)
    if rule is not None:
        how += f" The text must follow this {rule.syntax} grammar:\n{rule.definition}"
    return f"{description}\n\n{how}" if description else how


def _grammar(text: bytes) -> _Grammar | None:
    """The grammar as Responses writes it, or one level deeper, as Chat does; any other format asks for nothing."""
    try:
        return _nested_decoder.decode(text).grammar
    except NOT_JSON:
        pass
    try:
        return _grammar_decoder.decode(text)
    except NOT_JSON:
        return None


def freeform_input(arguments: str) -> str:
    """The raw text in the arguments of such a function; whatever else the model wrote is the text itself."""
    try:
        return _input_decoder.decode(arguments).input
    except NOT_JSON:
        return arguments


def freeform_arguments(text: str) -> str:
    """The arguments of such a function that say ``text``."""
    return msgspec.json.encode(_Input(text)).decode()
