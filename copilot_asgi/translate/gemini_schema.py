"""Google's schemas, which follow OpenAPI, as JSON schemas.

Rule: look only where a schema stands; names of properties, defaults and enumerated values are data. What is a JSON
schema already comes out as it went in.

Source: https://ai.google.dev/api/caching#Schema.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from copilot_asgi.translate.camel import camel

__all__ = ["json_schema"]

_RENAMED: Mapping[str, str] = MappingProxyType({"defs": "$defs", "ref": "$ref"})
_UNSAID = frozenset({"nullable", "propertyOrdering"})
_NO_TYPE = "type_unspecified"


def json_schema(text: bytes) -> bytes:
    """The JSON schema that says the same. Raises one of ``NOT_JSON``."""
    return msgspec.json.encode(_schema(msgspec.json.decode(text)))


def _schema(given: object) -> object:
    if not isinstance(given, dict):
        return given
    fields = {_name(name): value for name, value in given.items()}
    said = {name: _VALUES.get(name, _same)(value) for name, value in fields.items() if name not in _UNSAID}
    if said.get("type") == _NO_TYPE:
        del said["type"]
    return _nullable(said) if fields.get("nullable") is True else said


def _name(name: str) -> str:
    return _RENAMED.get(name) or (name if name.startswith("$") else camel(name))


def _nullable(schema: dict[str, object]) -> dict[str, object]:
    """JSON schema has a type for null; a list of values must hold it as well."""
    kind, values, variants = schema.get("type"), schema.get("enum"), schema.get("anyOf")
    if isinstance(kind, str):
        schema["type"] = [kind, "null"]
    if isinstance(values, list):
        schema["enum"] = [*values, None]
    if isinstance(variants, list):
        schema["anyOf"] = [*variants, {"type": "null"}]
    return schema


def _same(value: object) -> object:
    return value


def _type(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _count(value: object) -> object:
    """Protobuf writes 64-bit numbers as strings."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else value


def _reference(value: object) -> object:
    return value.replace("#/defs/", "#/$defs/") if isinstance(value, str) else value


def _listed(value: object) -> object:
    return [_schema(each) for each in value] if isinstance(value, list) else value


def _named(value: object) -> object:
    return {name: _schema(each) for name, each in value.items()} if isinstance(value, dict) else value


_VALUES: Mapping[str, Callable[[object], object]] = MappingProxyType(
    {
        "$defs": _named,
        "$ref": _reference,
        "additionalProperties": _schema,
        "allOf": _listed,
        "anyOf": _listed,
        "items": _schema,
        "maxItems": _count,
        "maxLength": _count,
        "maxProperties": _count,
        "minItems": _count,
        "minLength": _count,
        "minProperties": _count,
        "oneOf": _listed,
        "properties": _named,
        "type": _type,
    }
)
