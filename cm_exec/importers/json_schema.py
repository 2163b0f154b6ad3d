"""Import types from JSON Schema, on its own or as a part of OpenAPI."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from cm_exec.datatypes import MAX_DEPTH
from cm_exec.datatypes.syntax import is_name
from cm_exec.importers.declarations import (
    Declarations,
    DeclaredFunction,
    DescriptionError,
    Member,
    struct_text,
)

Schema = Mapping[str, Any]

_OF_STRING: Final = {
    "date": "date",
    "date-time": "timestamp",
    "byte": "binary",
    "binary": "binary",
    "base64": "binary",
    "decimal": "decimal",
}
_32_BITS: Final = 2**31
_RANGE_END: Final = 2**53
"""The protocol's ranges end at integers that a double holds."""
_ALTERNATIVES: Final = ("anyOf", "oneOf")


def from_json_schema(document: Schema, name: str) -> Declarations:
    """Return a function whose query has this JSON Schema, of any draft. Raises DescriptionError."""
    declarations = Declarations()
    reader = SchemaReader(document, declarations)
    root = reader.whole(document)
    if "properties" not in root:
        raise DescriptionError("a query is an object: expected a JSON Schema with properties")
    if (more := reader.beyond_members(root)) is not None:
        declarations.notes.append(f"{name} takes only its properties: {more}")
    declarations.functions.append(
        DeclaredFunction(
            name=str(document.get("title") or name),
            description=text_of(document),
            inputs=tuple(reader.members(root, name, with_range=True)),
        )
    )
    return declarations


def text_of(schema: Schema) -> str | None:
    """Return the description of a schema, None if it has none."""
    description = schema.get("description")
    return description if isinstance(description, str) and description.strip() and "\0" not in description else None


class SchemaReader:
    """Converts the schemas of one document to types, which keep their names.

    A schema without a counterpart on the platform becomes `unknown`, with a note.
    """

    def __init__(self, document: Schema, declarations: Declarations) -> None:
        self._document = document
        self._declarations = declarations
        self._names: dict[str, str] = {}
        self._being_read: list[str] = []
        self._depth = 0

    def type(self, schema: object, where: str) -> str:
        """Return the type of a schema. `where` is its name in notes."""
        if not isinstance(schema, Mapping):
            return self._unknown(where, "it accepts any value") if schema is not True else "unknown"
        if self._depth >= MAX_DEPTH:
            return self._unknown(where, f"it is nested more than {MAX_DEPTH} deep")
        self._depth += 1
        try:
            plain, nullable = self._without_null(schema)
            type_ = self._plain(plain, where)
        finally:
            self._depth -= 1
        return self.optional(type_) if nullable else type_

    def optional(self, type_: str) -> str:
        """Return the type with null, or unchanged if it already has null."""
        named = self._declarations.types.get(type_, type_)
        return type_ if isinstance(named, str) and named.startswith("optional<") else f"optional<{type_}>"

    def members(self, schema: Schema, where: str, *, with_range: bool = False) -> Iterator[Member]:
        """Yield the properties of an object; one that is not required, or goes in one direction only, is optional."""
        required = items(schema, "required")
        for name, inner in mapping(schema, "properties").items():
            type_ = self.type(inner, f"{where}.{name}")
            resolved = self.resolved(inner) if isinstance(inner, Mapping) else {}
            one_way = resolved.get("readOnly") is True or resolved.get("writeOnly") is True
            ranged = self._without_null(resolved)[0] if with_range else {}
            low, high = _end(ranged, "minimum", type_), _end(ranged, "maximum", type_)
            if low is not None and high is not None and low > high:
                low = high = None
                self._declarations.notes.append(f"{where}.{name}: its range has no value, and is left out")
            yield Member(
                name=name,
                type=type_ if name in required and not one_way else self.optional(type_),
                description=text_of(inner) if isinstance(inner, Mapping) else None,
                min=low,
                max=high,
            )

    def beyond_members(self, schema: Schema) -> str | None:
        """Return what an object may have besides its properties, for a note; None for a plain struct."""
        if schema.get("additionalProperties", False) is not False:
            return "the platform has no objects with further members"
        return next((f"the platform has no {word}" for word in _ALTERNATIVES if _adds_a_type(schema, word)), None)

    def resolved(self, schema: Schema) -> Schema:
        """Return the schema that a `$ref` refers to, or the schema itself. Raises DescriptionError."""
        seen = set[str]()
        while isinstance(reference := schema.get("$ref"), str):
            if reference in seen:
                raise DescriptionError(f"the reference {reference} refers to itself")
            seen.add(reference)
            schema = self._target(reference)
        return schema

    def _target(self, reference: str) -> Schema:
        if not reference.startswith("#"):
            raise DescriptionError(f"{reference} is in another file; merge the files first")
        target: Any = self._document
        for step in filter(None, reference[1:].split("/")):
            name = _unescaped(step)
            if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            else:
                target = target.get(name) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            raise DescriptionError(f"the reference {reference} has no target")
        return target

    def _without_null(self, schema: Schema) -> tuple[Schema, bool]:
        """Return the schema without null, and whether it accepts null."""
        kind = schema.get("type")
        if isinstance(kind, list):
            rest = [each for each in kind if each != "null"]
            return {**schema, "type": rest[0] if len(rest) == 1 else rest}, "null" in kind
        for word in _ALTERNATIVES:
            arms = schema.get(word)
            if isinstance(arms, list) and any(map(_is_null, arms)):
                rest = [arm for arm in arms if not _is_null(arm)]
                return (rest[0] if len(rest) == 1 and isinstance(rest[0], Mapping) else {**schema, word: rest}), True
        if "type" not in schema and None in items(schema, "enum"):
            return {**schema, "enum": [each for each in schema["enum"] if each is not None]}, True
        return schema, schema.get("nullable") is True

    def _plain(self, schema: Schema, where: str) -> str:
        if isinstance(schema.get("$ref"), str):
            return self._named(schema["$ref"], where)
        arms = schema.get("allOf")
        if isinstance(arms, list):
            return self._all_of(schema, arms, where)
        for word in _ALTERNATIVES:
            if _adds_a_type(schema, word):
                return self._any_of(schema, word, where)
        kind = _kind(schema)
        if kind == "array":
            return self._array(schema, where)
        if kind == "object":
            return self._object(schema, where)
        given = schema.get("type")
        why = f"the platform has no type {given}" if given else "its schema has no type"
        return _scalar(kind, schema) or self._unknown(where, why)

    def _any_of(self, schema: Schema, word: str, where: str) -> str:
        types = list(dict.fromkeys(self.type(arm, where) for arm in schema[word]))
        is_one = len(types) == 1 and "properties" not in schema
        return types[0] if is_one else self._unknown(where, f"the platform has no {word}")

    def _all_of(self, schema: Schema, arms: Sequence[object], where: str) -> str:
        own = {key: value for key, value in schema.items() if key != "allOf"}
        if len(arms) == 1 and not _has_type(own) and "required" not in own:
            return self.type(arms[0], where)
        plain, nullable = self._without_null(self.whole(schema))
        type_ = self._plain(plain, where)
        return self.optional(type_) if nullable else type_

    def whole(self, schema: Schema, inside: frozenset[int] = frozenset()) -> Schema:
        """Return the schema with `$ref` and `allOf` resolved. `inside` has the schemas that this is a part of.

        Raises DescriptionError.
        """
        resolved = self.resolved(schema)
        arms = resolved.get("allOf")
        if not isinstance(arms, list) or len(inside) >= MAX_DEPTH:
            return resolved
        if id(resolved) in inside:
            return {}
        inside |= {id(resolved)}
        return _union([*(self.whole(arm, inside) for arm in arms if isinstance(arm, Mapping)), resolved])

    def _named(self, reference: str, where: str) -> str:
        if reference in self._being_read:
            return self._unknown(where, "a type of the platform cannot contain itself")
        if reference not in self._names:
            name = self._free_name(_unescaped(reference.rpartition("/")[2]))
            self._being_read.append(reference)
            read = self._definition(self._target(reference), name)
            self._being_read.pop()
            self._declarations.types[name] = read
            self._names[reference] = name
        return self._names[reference]

    def _definition(self, schema: Schema, name: str) -> str | tuple[Member, ...]:
        merged = self.whole(schema)
        if mapping(merged, "properties") and not merged.get("nullable") and self.beyond_members(merged) is None:
            return tuple(self.members(merged, name))
        return self.type(schema, name)

    def _free_name(self, name: str) -> str:
        free = re.sub(r"\W", "_", name) or "_"
        free = f"_{free}" if free[0].isdigit() else free
        while not is_name(free) or free in self._names.values() or free in self._declarations.types:
            free += "_"
        return free

    def _array(self, schema: Schema, where: str) -> str:
        if "prefixItems" in schema or isinstance(schema.get("items"), list):
            return f"list<{self._unknown(where, 'the platform has no tuples')}>"
        element = self.type(schema.get("items", True), f"{where}[]")
        return f"{'set' if schema.get('uniqueItems') is True else 'list'}<{element}>"

    def _object(self, schema: Schema, where: str) -> str:
        if mapping(schema, "properties"):
            more = self.beyond_members(schema)
            return struct_text(self.members(schema, where)) if more is None else self._unknown(where, more)
        return f"map<string, {self.type(schema.get('additionalProperties', True), where)}>"

    def _unknown(self, where: str, why: str) -> str:
        self._declarations.notes.append(f"{where} is unknown: {why}")
        return "unknown"


def _scalar(kind: object, schema: Schema) -> str | None:
    """Return the type of a schema without parts, None for other kinds."""
    if kind == "string":
        return _OF_STRING.get(str(schema.get("format") or schema.get("contentEncoding")), "string")
    if kind == "integer":
        return _integer(schema)
    if kind == "number":
        return "float" if schema.get("format") == "float" else "double"
    return "boolean" if kind == "boolean" else None


def _unescaped(step: str) -> str:
    """Return the name that a step of a JSON pointer in a URL stands for."""
    return unquote(step).replace("~1", "/").replace("~0", "~")


def _is_null(schema: object) -> bool:
    """Return whether null is the only value of a schema."""
    if not isinstance(schema, Mapping):
        return False
    return schema.get("type") in ("null", ["null"]) or schema.get("enum") == [None] or schema.get("const", "") is None


def _has_type(schema: object) -> bool:
    """Return whether a schema says what its values are, and not only which of them are valid."""
    if not isinstance(schema, Mapping):
        return True
    return bool(_kind(schema)) or any(word in schema for word in ("$ref", "allOf", *_ALTERNATIVES))


def _adds_a_type(schema: Schema, word: str) -> bool:
    """Return whether the alternatives at `anyOf` or `oneOf` are types: `required` alone is a condition."""
    arms = schema.get(word)
    return isinstance(arms, list) and (not _kind(schema) or any(map(_has_type, arms)))


def _integer(schema: Schema) -> str:
    ends = [_end(schema, key, "long") for key in ("minimum", "maximum")]
    given = [end for end in ends if end is not None]
    if not all(-_32_BITS <= end < _32_BITS for end in given):
        return "long"  # some say int32 of an unsigned integer
    return "integer" if len(given) == len(ends) or schema.get("format") in {"int32", "int16", "int8"} else "long"


def items(schema: Schema, key: str) -> Sequence[Any]:
    """Return the array at a key, empty if there is none."""
    value = schema.get(key)
    return value if isinstance(value, list) else ()


def mapping(schema: Schema, key: str) -> Schema:
    """Return the object at a key, empty if there is none."""
    value = schema.get(key)
    return value if isinstance(value, Mapping) else {}


def _kind(schema: Schema) -> object:
    """Return the declared type of a schema, or the type that its other keywords imply."""
    if "type" in schema:
        return schema["type"]
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    constants = items(schema, "enum") or ([schema["const"]] if "const" in schema else [])
    kinds = {_KINDS.get(type(constant)) for constant in constants}
    return kinds.pop() if len(kinds) == 1 else None


_KINDS: Final = {str: "string", bool: "boolean", int: "integer", float: "number"}


def _union(schemas: Sequence[Schema]) -> Schema:
    """Return one schema with the properties of all."""
    properties = {name: inner for schema in schemas for name, inner in mapping(schema, "properties").items()}
    required = [name for schema in schemas for name in items(schema, "required")]
    whole = {key: value for schema in schemas for key, value in schema.items() if key != "allOf"}
    return {**whole, **({"properties": properties} if properties else {}), "required": required}


def _end(schema: Schema, key: str, type_: str) -> int | float | None:
    """Return the inclusive end of a range, None if there is none or the type has no range."""
    value, exclusive = schema.get(key), schema.get(f"exclusive{key.capitalize()}", False)
    if not isinstance(exclusive, bool):  # JSON Schema since draft 6: the end itself
        value = exclusive
    type_ = type_.removeprefix("optional<").removesuffix(">")
    if type_ not in {"integer", "long", "double", "float"} or not isinstance(value, int | float) or value is True:
        return None
    if type_ in {"integer", "long"}:
        if isinstance(value, float) and not value.is_integer():
            return None
        step = 0 if exclusive is False else 1 if key == "minimum" else -1
        value = int(value) + step
    return value if isinstance(value, float) or abs(value) < _RANGE_END else None
