"""One object out of a schema that combines several at its root.

Rule: only ever looser. A property of any branch is allowed, and only what all branches require is required; the
combination itself stays as text in the description, where a model can read it.
"""

from collections.abc import Mapping

import msgspec

from copilot_asgi.wire.shallow import NOT_JSON, Fields, read_array, read_object

__all__ = ["EMPTY_SCHEMA", "merged_root"]

EMPTY_SCHEMA = b'{"type":"object","properties":{}}'
"""The schema of an object without properties."""

_COMBINATIONS = ("$ref", "allOf", "anyOf", "oneOf")
_WITHOUT = (*_COMBINATIONS, "properties", "required", "description")

_names_decoder = msgspec.json.Decoder(list[str])
_text_decoder = msgspec.json.Decoder(str)


class _Shape(msgspec.Struct):
    """What an object schema says about its properties."""

    properties: dict[str, msgspec.Raw]
    required: dict[str, None]

    def and_also(self, other: "_Shape") -> None:
        """Narrow this one by another that holds as well."""
        self.properties = other.properties | self.properties
        self.required |= other.required


def merged_root(fields: Fields) -> Fields:
    """The root of a schema without ``$ref``, ``allOf``, ``anyOf`` and ``oneOf``. Raises one of ``NOT_JSON``."""
    combined = {key: fields[key] for key in _COMBINATIONS if key in fields}
    if not combined:
        return fields
    shape = _Shapes(fields).of(fields)
    hint = f"Must match this JSON schema: {msgspec.json.encode(combined).decode()}"
    described = [_text_decoder.decode(fields["description"])] if "description" in fields else []
    merged: dict[str, object] = {key: value for key, value in fields.items() if key not in _WITHOUT}
    merged["description"] = "\n\n".join([*described, hint])
    merged["properties"] = shape.properties
    if shape.required:
        merged["required"] = list(shape.required)
    return {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in merged.items()}


class _Shapes:
    """The shapes of one document's schemas. A reference is followed once, so circles end."""

    def __init__(self, root: Fields) -> None:
        self._root = root
        self._followed: set[str] = set()

    def of(self, fields: Fields) -> _Shape:
        """The shape of one schema with all its combinations."""
        shape = _Shape(
            read_object(fields.get("properties", b"{}")),
            dict.fromkeys(_names_decoder.decode(fields.get("required", b"[]"))),
        )
        if "$ref" in fields:
            shape.and_also(self._referred(_text_decoder.decode(fields["$ref"])))
        for branch in read_array(fields.get("allOf", b"[]")):
            shape.and_also(self._branch(branch))
        for key in ("anyOf", "oneOf"):
            branches = [self._branch(branch) for branch in read_array(fields.get(key, b"[]"))]
            shape.and_also(_any_of(branches))
        return shape

    def _branch(self, schema: msgspec.Raw) -> _Shape:
        try:
            fields = read_object(schema)
        except msgspec.ValidationError:  # true, or false
            return _Shape({}, {})
        return self.of(fields)

    def _referred(self, pointer: str) -> _Shape:
        """The shape of what a reference inside the document points to (RFC 6901); of any other, that of anything."""
        if pointer in self._followed or not pointer.startswith("#/"):
            return _Shape({}, {})
        self._followed.add(pointer)
        fields: Mapping[str, msgspec.Raw] = self._root
        try:
            for token in pointer[2:].split("/"):
                fields = read_object(fields[token.replace("~1", "/").replace("~0", "~")])
        except (KeyError, *NOT_JSON):
            return _Shape({}, {})
        return self.of(fields)


def _any_of(branches: list[_Shape]) -> _Shape:
    """The shape of an object that is one of these."""
    found: dict[str, dict[bytes, None]] = {}
    for branch in branches:
        for name, schema in branch.properties.items():
            found.setdefault(name, {})[bytes(schema)] = None
    required = [name for name in found if all(name in branch.required for branch in branches)]
    return _Shape({name: _either(list(schemas)) for name, schemas in found.items()}, dict.fromkeys(required))


def _either(schemas: list[bytes]) -> msgspec.Raw:
    if len(schemas) == 1:
        return msgspec.Raw(schemas[0])
    return msgspec.Raw(b'{"anyOf":[' + b",".join(schemas) + b"]}")
