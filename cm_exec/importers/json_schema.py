"""Import types from JSON Schema, on its own or as a part of OpenAPI."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

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


def from_json_schema(document: Schema, name: str) -> Declarations:
    """Return a function whose query has this JSON Schema, of any draft. Raises DescriptionError."""
    declarations = Declarations()
    reader = SchemaReader(document, declarations)
    root = reader.whole(document)
    if "properties" not in root:
        raise DescriptionError("a query is an object: expected a JSON Schema with properties")
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
        """Yield the properties of an object; one that is not required is optional."""
        required = items(schema, "required")
        for name, inner in mapping(schema, "properties").items():
            type_ = self.type(inner, f"{where}.{name}")
            resolved = self.resolved(inner) if isinstance(inner, Mapping) else {}
            yield Member(
                name=name,
                type=type_ if name in required else self.optional(type_),
                description=text_of(inner) if isinstance(inner, Mapping) else None,
                min=_end(resolved, "minimum", type_) if with_range else None,
                max=_end(resolved, "maximum", type_) if with_range else None,
            )

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
            name = step.replace("~1", "/").replace("~0", "~")
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
        for word in ("anyOf", "oneOf"):
            arms = schema.get(word)
            if isinstance(arms, list) and {"type": "null"} in arms:
                rest = [arm for arm in arms if arm != {"type": "null"}]
                return (rest[0] if len(rest) == 1 else {**schema, word: rest}), True
        return schema, schema.get("nullable") is True

    def _plain(self, schema: Schema, where: str) -> str:
        if isinstance(schema.get("$ref"), str):
            return self._named(schema["$ref"], where)
        arms = schema.get("allOf")
        if isinstance(arms, list):
            return self._all_of(schema, arms, where)
        for word in ("anyOf", "oneOf"):
            if isinstance(schema.get(word), list):
                return self._any_of(schema[word], word, where)
        kind = _kind(schema)
        if kind == "array":
            return self._array(schema, where)
        if kind == "object":
            return self._object(schema, where)
        given = schema.get("type")
        why = f"the platform has no type {given}" if given else "its schema has no type"
        return _scalar(kind, schema) or self._unknown(where, why)

    def _any_of(self, arms: Sequence[object], word: str, where: str) -> str:
        types = list(dict.fromkeys(self.type(arm, where) for arm in arms))
        return types[0] if len(types) == 1 else self._unknown(where, f"the platform has no {word}")

    def _all_of(self, schema: Schema, arms: Sequence[object], where: str) -> str:
        own = {key: value for key, value in schema.items() if key != "allOf"}
        if len(arms) == 1 and not _kind(own):
            return self.type(arms[0], where)
        whole = [self.whole(arm) for arm in arms if isinstance(arm, Mapping)]
        return self._object(_union([*whole, own]), where)

    def whole(self, schema: Schema) -> Schema:
        """Return the schema with `$ref` and `allOf` resolved. Raises DescriptionError."""
        resolved = self.resolved(schema)
        arms = resolved.get("allOf")
        if not isinstance(arms, list) or self._depth >= MAX_DEPTH:
            return resolved
        self._depth += 1
        try:
            return _union([*(self.whole(arm) for arm in arms if isinstance(arm, Mapping)), resolved])
        finally:
            self._depth -= 1

    def _named(self, reference: str, where: str) -> str:
        if reference in self._being_read:
            return self._unknown(where, "a type of the platform cannot contain itself")
        if reference not in self._names:
            name = self._free_name(reference.rpartition("/")[2])
            self._being_read.append(reference)
            read = self._definition(self._target(reference), name)
            self._being_read.pop()
            self._declarations.types[name] = read
            self._names[reference] = name
        return self._names[reference]

    def _definition(self, schema: Schema, name: str) -> str | tuple[Member, ...]:
        merged = self.whole(schema)
        if isinstance(merged.get("properties"), Mapping) and merged["properties"] and not merged.get("nullable"):
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
        if members := list(self.members(schema, where)):
            return struct_text(members)
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


def _integer(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    small = isinstance(low, int) and isinstance(high, int) and low >= -_32_BITS and high < _32_BITS
    return "integer" if small or schema.get("format") in {"int32", "int16", "int8"} else "long"


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
    """Return one object schema with the properties of all."""
    properties = {name: inner for schema in schemas for name, inner in mapping(schema, "properties").items()}
    required = [name for schema in schemas for name in items(schema, "required")]
    last = {key: value for schema in schemas for key, value in schema.items() if key != "allOf"}
    return {**last, "properties": properties, "required": required}


def _end(schema: Schema, key: str, type_: str) -> int | float | None:
    """Return the inclusive end of a range, None if there is none or the type has no range."""
    value = schema.get(key)
    if type_ not in {"integer", "long", "double", "float"} or not isinstance(value, int | float) or value is True:
        return None
    if type_ in {"integer", "long"} and isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value
