"""Check whether a JSON value has a type.

Messages describe the kind of a value and never show it: queries and results must not get into logs.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from cm_exec.datatypes import (
    DataType,
    DecimalType,
    Field,
    ListType,
    MapType,
    OptionalType,
    SetType,
    SimpleType,
    StructType,
)
from cm_exec.datatypes.scalars import SCALARS, Scalar, decimal_scalar
from cm_exec.text import count_text, did_you_mean

Check = Callable[[Any], None]
"""Checks a decoded JSON value. Raises TypeMismatchError."""

_LONGEST_NAME: Final = 40


class TypeMismatchError(Exception):
    """Raised for a value that does not have its type. `path` leads to it from the inside out: names and indexes."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    def __str__(self) -> str:
        return f"${''.join(reversed(self.path))}: {self.message}"


def checker(type_: DataType) -> Check:  # noqa: PLR0911 - one return per kind of type
    """Return the check for values of a type."""
    match type_:
        case SimpleType(name):
            return _scalar(SCALARS[name])
        case DecimalType():
            return _scalar(decimal_scalar(type_))
        case ListType(SimpleType() | DecimalType() as element) | SetType(SimpleType() | DecimalType() as element):
            return _array_of_scalars(_scalar_of(element))
        case ListType(element) | SetType(element):
            return _array(checker(element))
        case MapType(key, value):
            return _map(_scalar_of(key), checker(value))
        case OptionalType(wrapped):
            return _optional(checker(wrapped))
        case StructType(fields):
            return members_checker([(field, checker(field.type)) for field in fields])


def describe_type(type_: DataType) -> str:
    """Return a description of the values of a type."""
    match type_:
        case ListType() | SetType():
            return "an array"
        case MapType() | StructType():
            return "an object"
        case OptionalType(wrapped):
            return describe_type(wrapped)
        case SimpleType() | DecimalType():
            return _scalar_of(type_).words


def describe_value(value: Any) -> str:  # noqa: PLR0911 - one return per kind of value
    """Return the kind and the length of a value, without the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float() if abs(value) == float("inf"):
            return "a number beyond 64 bits"
        case float():
            return "a number with a fraction or an exponent"
        case str():
            return f"a string of {count_text(len(value), 'character')}" if value else "an empty string"
        case list():
            return f"an array of {count_text(len(value), 'item')}" if value else "an empty array"
        case _:
            return f"an object of {count_text(len(value), 'member')}" if value else "an empty object"


def _scalar_of(type_: DataType) -> Scalar:
    return SCALARS[type_.name] if isinstance(type_, SimpleType) else decimal_scalar(_decimal(type_))


def _decimal(type_: DataType) -> DecimalType:
    assert isinstance(type_, DecimalType)  # noqa: S101 - is_key_type has checked it
    return type_


def _wrong(expected: str, value: Any) -> NoReturn:
    beyond = type(value) is int and ("integer" in expected or "milliseconds" in expected)
    raise TypeMismatchError(f"expected {expected}, found {describe_value(value)}{' beyond that' if beyond else ''}")


def raise_out_of_range(range_words: str) -> NoReturn:
    """Raise TypeMismatchError for a value of the right type that is out of its range."""
    raise TypeMismatchError(f"expected a value {range_words}, found one outside")


def _scalar(scalar: Scalar) -> Check:
    fits, expected = scalar.fits, scalar.words

    def check(value: Any) -> None:
        if not fits(value):
            _wrong(expected, value)

    return check


def _array_of_scalars(scalar: Scalar) -> Check:
    """Return the same check as `_array`, which takes half the time: these arrays are long."""
    fits, one_by_one = scalar.fits, _array(_scalar(scalar))

    def check(value: Any) -> None:
        if type(value) is not list or not all(map(fits, value)):
            one_by_one(value)

    return check


def _array(element: Check) -> Check:
    def check(value: Any) -> None:
        if type(value) is not list:
            _wrong("an array", value)
        index = 0
        try:
            for index, item in enumerate(value):  # noqa: B007 - the index is for the message
                element(item)
        except TypeMismatchError as mismatch:
            mismatch.path.append(f"[{index}]")
            raise

    return check


def _map(key: Scalar, entry: Check) -> Check:
    """Return the check for a map. The path has the number of a wrong entry, from 1: the names in a map are data."""

    def check(value: Any) -> None:
        if type(value) is not dict:
            _wrong("an object", value)
        number = 0
        try:
            for number, (name, item) in enumerate(value.items(), 1):  # noqa: B007
                _check_key(name, key)
                entry(item)
        except TypeMismatchError as mismatch:
            mismatch.path.append(f"[entry {number}]")
            raise

    return check


def _check_key(name: str, key: Scalar) -> None:
    if not key.fits_key(name):
        raise TypeMismatchError(f"expected a name that is {key.words}, found another")


def _optional(wrapped: Check) -> Check:
    def check(value: Any) -> None:
        if value is not None:
            wrapped(value)

    return check


def members_checker(members: list[tuple[Field, Check]]) -> Check:
    """Return the check for an object with these members and no others."""
    known = {field.name: (field, check) for field, check in members}
    required = {field.name for field, _ in members if field.required}

    def check(value: Any) -> None:
        if type(value) is not dict:
            _wrong("an object", value)
        name = ""
        try:
            for name, item in value.items():
                _check_member(name, item, known)
            for name in required - value.keys():
                _missing(known[name][0])
        except TypeMismatchError as mismatch:
            mismatch.path.append(_path_segment(name))
            raise

    return check


def _check_member(name: str, value: Any, known: Mapping[str, tuple[Field, Check]]) -> None:
    if name not in known:
        hint = did_you_mean(name, known, otherwise="the members here are") or "there are no members here"
        raise TypeMismatchError(f"unknown; {hint}")
    field, check = known[name]
    if value is not None or field.required:
        check(value)


def _missing(field: Field) -> NoReturn:
    raise TypeMismatchError(f"expected {describe_type(field.type)}, found nothing")


def _path_segment(name: str) -> str:
    shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return f".{shown}" if shown.isidentifier() else f"[{json.dumps(shown, ensure_ascii=False)}]"
