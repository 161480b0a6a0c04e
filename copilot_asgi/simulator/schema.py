"""Making up a value that fits a JSON schema, as a model asked for structured output or for a tool call does.

Rule: words ``key=value`` in the prompt win; the rest is the smallest value of the right type, only where required.
"""

import re
from collections.abc import Callable

from copilot_asgi.simulator.access import Object, number, object_of, objects, string, strings

__all__ = ["instance", "named_values"]

_PAIR = re.compile(r"""\b([A-Za-z_][\w-]*)=("[^"]*"|'[^']*'|[^\s,;\])]+)""")
_FORMATS = {
    "date": "2026-12-01",
    "date-time": "2026-12-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "octocat@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}
_DEPTH = 12


def named_values(text: str) -> dict[str, str]:
    """The ``key=value`` words of ``text``; a value may be quoted."""
    return {key: value.strip("\"'") for key, value in _PAIR.findall(text)}


def instance(schema: Object, values: dict[str, str], *, text: str = "") -> Object:
    """An object that fits ``schema``, with ``values`` where their names fit and ``text`` where any string will do."""
    made = _Maker(schema, values, text).make(schema, "", _DEPTH)
    return made if isinstance(made, dict) else {"value": made}


class _Maker:
    def __init__(self, root: Object, values: dict[str, str], text: str) -> None:
        self._root = root
        self._values = values
        self._text = text

    def make(self, schema: Object, name: str, depth: int) -> object:
        schema = _resolved(schema, self._root)
        if depth == 0:
            return None
        if "const" in schema:
            return schema["const"]
        given = self._values.get(name)
        options = schema.get("enum")
        if isinstance(options, list) and options:
            return given if given in options else options[0]
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                count = max(1 if given else 0, int(number(schema.get("minItems"))))
                return [self.make(object_of(schema.get("items")), name, depth - 1) for _ in range(count)]
            case kind:
                return _SCALARS.get(kind, _string)(schema, given, self._text)

    def _object(self, schema: Object, depth: int) -> Object:
        properties = object_of(schema.get("properties"))
        wanted = strings(schema.get("required"))
        wanted += [key for key in properties if key in self._values and key not in wanted]
        return {key: self.make(object_of(properties.get(key)), key, depth - 1) for key in wanted}


def _string(schema: Object, given: str | None, text: str) -> str:
    if given is not None:
        return given
    made = _FORMATS.get(string(schema.get("format"))) or text or "text"
    made = made.ljust(int(number(schema.get("minLength"))), "x")
    return made[: int(number(schema.get("maxLength"), len(made)))]


def _integer(schema: Object, given: str | None, text: str) -> int:
    return int(_number(schema, given, text))


def _boolean(_: Object, given: str | None, __: str) -> bool:
    return given in {"true", "yes", "1"}


def _null(_: Object, __: str | None, ___: str) -> None:
    return None


def _number(schema: Object, given: str | None, _: str) -> float:
    try:
        return float(given or "")
    except ValueError:
        return _number_between(schema)


def _number_between(schema: Object) -> float:
    above = schema.get("exclusiveMinimum")
    lowest = number(schema.get("minimum"), 0 if above is None else number(above) + 1)
    if lowest < 0 <= number(schema.get("maximum"), 0):
        return 0
    return min(lowest, number(schema.get("maximum"), lowest))


_SCALARS: dict[str, Callable[[Object, str | None, str], object]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "null": _null,
}


def _type_of(schema: Object) -> str:
    given = schema.get("type")
    if isinstance(given, list):
        return next((kind for kind in strings(given) if kind != "null"), "null")
    if isinstance(given, str):
        return given
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _resolved(schema: Object, root: Object) -> Object:
    """``schema`` with references followed and the first of alternatives chosen."""
    for _ in range(_DEPTH):
        reference = string(schema.get("$ref"))
        branches = objects(schema.get("anyOf")) or objects(schema.get("oneOf"))
        if reference.startswith("#"):
            found: Object = root
            for step in reference.removeprefix("#").strip("/").split("/"):
                found = object_of(found.get(step)) if step else found
            schema = found
        elif branches:
            schema = next((branch for branch in branches if branch.get("type") != "null"), branches[0])
        elif "allOf" in schema:
            schema = _merged(objects(schema["allOf"]), root)
        else:
            break
    return schema


def _merged(branches: list[Object], root: Object) -> Object:
    resolved = [_resolved(branch, root) for branch in branches]
    properties = {key: value for part in resolved for key, value in object_of(part.get("properties")).items()}
    required = [name for part in resolved for name in strings(part.get("required"))]
    return {**(resolved[0] if resolved else {}), "properties": properties, "required": required}
