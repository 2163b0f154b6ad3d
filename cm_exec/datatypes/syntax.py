"""The type syntax: `list<string>`, `map<string, optional<decimal(10, 2)>>`, `struct<x: integer>`."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from cm_exec.datatypes import (
    MAX_DEPTH,
    SIMPLE_NAMES,
    DataType,
    DecimalType,
    Field,
    ListType,
    MapType,
    OptionalType,
    SetType,
    SimpleType,
    StructType,
    is_key_type,
    required_by_default,
)
from cm_exec.text import quoted

BUILTIN_NAMES: Final = (*SIMPLE_NAMES, "decimal", "list", "set", "map", "optional", "struct")
_NAME: Final = re.compile(r"[^\W\d]\w*")


def is_name(text: str) -> bool:
    """Return whether a named type may have this name: letters, digits and underscores, and no name of a built-in."""
    return _NAME.fullmatch(text) is not None and text not in {*BUILTIN_NAMES, "void"}


_ALIASES: Final = {
    "any": "unknown",
    "array": "list<...>",
    "bigint": "long",
    "bool": "boolean",
    "bytes": "binary",
    "char": "string",
    "datetime": "timestamp",
    "dict": "map<string, ...>",
    "float32": "float",
    "float64": "double",
    "int": "integer",
    "int16": "short",
    "int32": "integer",
    "int64": "long",
    "int8": "byte",
    "json": "unknown",
    "number": "double",
    "object": "struct<...>",
    "str": "string",
    "text": "string",
}
"""Names of types in other languages, and their names here."""

_SPACE: Final = re.compile(r"\s*")
_WORD: Final = re.compile(r"[\w.-]+")
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_DIGITS: Final = re.compile(r"[0-9]+")
_MOST_DIGITS: Final = 2**31 - 1
"""Precision and scale are integers of 32 bits in the protocol."""

_AROUND: Final = 30


class TypeTextError(Exception):
    """Raised for a text that is no type. `position` is the index of the wrong character.

    `unknown` is the unknown name, if that is the only problem.
    """

    def __init__(self, message: str, position: int, *, unknown: str | None = None) -> None:
        super().__init__(message)
        self.position = position
        self.unknown = unknown


class UnusableNameError(Exception):
    """Raised for a named type that cannot be used at this place. Its text gives the reason, without a full stop."""


Resolver = Callable[[str], DataType | None]
"""Returns the type of a name, None for an unknown name. May raise UnusableNameError."""


def parse_type(text: str, named: Resolver = lambda _: None) -> DataType:
    """Return the type that a text describes. Raises TypeTextError."""
    parser = _Parser(text, named)
    type_ = parser.type(1)
    parser.end()
    return type_


def _excerpt(text: str, position: int) -> str:
    start, end = max(0, position - _AROUND), position + _AROUND
    return json.dumps(
        f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}",
        ensure_ascii=False,
    )


class _Parser:
    """A recursive descent parser for one text."""

    def __init__(self, text: str, named: Resolver) -> None:
        self._text = text
        self._named = named
        self._at = 0

    def type(self, depth: int) -> DataType:
        """Parse one type."""
        start = self._start()
        if depth > MAX_DEPTH:
            self._fail(start, f"types are nested more than {MAX_DEPTH} deep")
        name = self._name(start, "a type")
        match name:
            case "decimal":
                return self._decimal()
            case "list" | "set" | "optional" | "map" | "struct":
                return self._generic(name, start, depth)
            case "void":
                self._fail(start, "void is not the type of a value; only returns itself can be void")
        simple = next((known for known in SIMPLE_NAMES if known == name), None)
        if simple is not None:
            self._no_arguments(name)
            return SimpleType(simple)
        return self._own(name, start)

    def end(self) -> None:
        """Fail if anything follows."""
        start = self._start()
        if start < len(self._text):
            self._fail(start, f"expected the end of the type, found {self._found()}")

    def _generic(self, name: str, start: int, depth: int) -> DataType:
        self._expect("<", f"as in {_SAMPLES[name]}")
        if name == "struct":
            return self._struct(depth)
        if name == "map":
            return self._map(depth)
        element = self.type(depth + 1)
        self._expect(">", f"to end {name}<")
        match name:
            case "list":
                return ListType(element)
            case "set":
                return SetType(element)
        if isinstance(element, OptionalType):
            self._fail(start, "an optional of an optional is the same as an optional")
        return OptionalType(element)

    def _map(self, depth: int) -> MapType:
        start = self._start()
        key = self.type(depth + 1)
        if not is_key_type(key):
            self._fail(start, "a map's keys are strings in JSON; use a simple type such as string, integer or date")
        self._expect(",", "and the type of the map's values")
        value = self.type(depth + 1)
        self._expect(">", "to end map<")
        return MapType(key, value)

    def _struct(self, depth: int) -> StructType:
        fields = [*self._fields(depth)]
        self._expect(">", "to end struct<")
        return StructType(tuple(fields))

    def _fields(self, depth: int) -> Iterator[Field]:
        known = set[str]()
        while True:
            start = self._start()
            field = self._field(depth)
            if field.name in known:
                self._fail(start, "the struct already has a field of this name")
            known.add(field.name)
            yield field
            if not self._take(","):
                return

    def _field(self, depth: int) -> Field:
        name = self._string() or self._name(self._start(), "the name of a field")
        mark = "?" if self._take("?") else "!" if self._take("!") else ""
        self._expect(":", "and the field's type")
        type_ = self.type(depth + 1)
        required = mark == "!" if mark else required_by_default(type_)
        return Field(name=name, type=type_, required=required, description=self._string() or None)

    def _decimal(self) -> DecimalType:
        if not self._take("("):
            self._no_arguments("decimal", "; did you mean decimal(10, 2)?")
            return DecimalType()
        precision = None if self._take("*") else self._precision()
        scale = self._scale(precision) if precision is None or self._text.startswith(",", self._start()) else None
        self._expect(")", "to end decimal(")
        return DecimalType(precision, scale)

    def _precision(self) -> int:
        start = self._start()
        precision = self._digits("the precision, a number of digits")
        if precision == 0:
            self._fail(start, "a decimal has 1 digit or more")
        return precision

    def _scale(self, precision: int | None) -> int:
        self._expect(",", "and the scale")
        start = self._start()
        scale = self._digits("the scale, a number of digits after the point")
        if precision is not None and scale > precision:
            self._fail(start, f"a decimal of {precision} digits cannot have {scale} after the point")
        return scale

    def _digits(self, what: str) -> int:
        start = self._start()
        match = _DIGITS.match(self._text, start)
        if match is None:
            self._fail(start, f"expected {what}, found {self._found()}")
        self._at = match.end()
        if len(match.group()) > len(str(_MOST_DIGITS)) or int(match.group()) > _MOST_DIGITS:
            self._fail(start, f"expected at most {_MOST_DIGITS} digits, the limit of the protocol")
        return int(match.group())

    def _own(self, name: str, start: int) -> DataType:
        try:
            type_ = self._named(name)
        except UnusableNameError as error:
            self._fail(start, str(error))
        if type_ is not None:
            self._no_arguments(name)
            return type_
        place = "" if self._text.strip() == name else f" in {_excerpt(self._text, start)}"
        message = f"unknown type {quoted(name)}{place}"
        if meant := _ALIASES.get(name.lower().removesuffix("_t")):
            raise TypeTextError(f"{message}; did you mean {quoted(meant)}?", start)
        raise TypeTextError(message, start, unknown=name)

    def _no_arguments(self, name: str, hint: str = "") -> None:
        start = self._start()
        for mark in "<(":
            if self._text.startswith(mark, start):
                self._fail(start, f"{name} has no {mark}...{_CLOSING[mark]}{hint}")

    def _name(self, start: int, what: str) -> str:
        match = _NAME.match(self._text, start)
        if match is None:
            self._fail(start, f"expected {what}, found {self._found()}")
        self._at = match.end()
        return match.group()

    def _string(self) -> str:
        start = self._start()
        if not self._text.startswith('"', start):
            return ""
        match = _STRING.match(self._text, start)
        try:
            value = json.loads(match.group()) if match else ""
            value.encode()  # raises ValueError for a lone surrogate
        except ValueError:
            self._fail(start, "the text in quotes has an escape that JSON does not have")
        if match is None:
            self._fail(start, "the text in quotes has no end")
        if not value:
            self._fail(start, "the text in quotes is empty")
        self._at = match.end()
        return str(value)

    def _expect(self, mark: str, why: str) -> None:
        if not self._take(mark):
            self._fail(self._start(), f"expected {mark} {why}, found {self._found()}")

    def _take(self, mark: str) -> bool:
        start = self._start()
        if self._text.startswith(mark, start):
            self._at = start + len(mark)
            return True
        return False

    def _start(self) -> int:
        """Skip white space and return the position of the next token."""
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _found(self) -> str:
        if self._at >= len(self._text):
            return "the end"
        word = _WORD.match(self._text, self._at)
        return word.group()[:_AROUND] if word else json.dumps(self._text[self._at], ensure_ascii=False)[1:-1]

    def _fail(self, position: int, message: str) -> NoReturn:
        message = f"character {position + 1} of {_excerpt(self._text, position)}: {message}"
        raise TypeTextError(message, position) from None


_CLOSING: Final = {"<": ">", "(": ")"}
_SAMPLES: Final = {
    "list": "list<string>",
    "set": "set<string>",
    "map": "map<string, integer>",
    "optional": "optional<string>",
    "struct": "struct<x: double, y: double>",
}


def type_text(type_: DataType) -> str:  # noqa: PLR0911 - one return per kind of type
    """Return the text of a type; parsing it returns the same type."""
    match type_:
        case SimpleType(name):
            return name
        case DecimalType():
            return _decimal_text(type_)
        case ListType(element):
            return f"list<{type_text(element)}>"
        case SetType(element):
            return f"set<{type_text(element)}>"
        case MapType(key, value):
            return f"map<{type_text(key)}, {type_text(value)}>"
        case OptionalType(wrapped):
            return f"optional<{type_text(wrapped)}>"
        case StructType(fields):
            return f"struct<{', '.join(map(_field_text, fields))}>"


def _decimal_text(type_: DecimalType) -> str:
    if type_.scale is not None:
        return f"decimal({'*' if type_.precision is None else type_.precision}, {type_.scale})"
    return "decimal" if type_.precision is None else f"decimal({type_.precision})"


def _field_text(field: Field) -> str:
    mark = "" if field.required is required_by_default(field.type) else "!" if field.required else "?"
    return member_text(field.name, type_text(field.type), field.description, mark)


def member_text(name: str, type_: str, description: str | None, mark: str = "") -> str:
    """Return the text of a struct's field; `mark` is `?` or `!`."""
    name = name if _NAME.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    description = "" if description is None else f" {json.dumps(description, ensure_ascii=False)}"
    return f"{name}{mark}: {type_}{description}"
