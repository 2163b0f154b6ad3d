"""The JSON forms of values of the simple types.

The forms are those in the documentation of functions. It does not describe all types (string, short, long, double),
and clients differ: the Python SDK writes timestamps as ISO 8601 and bytes as numbers, the platform's REST API writes
integers of 64 bits as strings. Each known form is valid.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from cm_exec.datatypes import DecimalType, SimpleName

Fits = Callable[[Any], bool]


class Scalar(Struct, frozen=True):
    """A simple type: a description of its values, and the check for one.

    `fits_key` is the check for a name in a JSON object, where numbers and booleans are strings, too.
    """

    words: str
    fits: Fits
    fits_key: Callable[[str], bool]


_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?")
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_NOT_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FURTHEST: Final = 8_640_000_000_000_000
"""The range of JavaScript's dates in milliseconds, 270,000 years from 1970."""


def whole_number(text: str, bits: int) -> bool:
    """Return whether a text is an integer of at most this many bits."""
    return _WHOLE.fullmatch(text) is not None and _in_bits(int(text), bits)


def _in_bits(value: int, bits: int) -> bool:
    return -(1 << bits - 1) <= value < 1 << bits - 1


def _whole(bits: int, words: str, *, text_too: bool = False) -> Scalar:
    def fits(value: Any) -> bool:
        if type(value) is int:
            return _in_bits(value, bits)
        return text_too and type(value) is str and whole_number(value, bits)

    return Scalar(words, fits, lambda key: whole_number(key, bits))


def _is_number(value: Any) -> bool:
    """Return whether a value is a number, or one of Conjure's three words for numbers that JSON does not have."""
    if type(value) is float:
        return abs(value) != float("inf")  # 1e999: more than a double holds
    return type(value) is int or (type(value) is str and value in _NOT_FINITE)


def _is_number_word(key: str) -> bool:
    return _NUMBER.fullmatch(key) is not None or key in _NOT_FINITE


def _is_string(value: Any) -> bool:
    return type(value) is str


def _is_byte(value: Any) -> bool:
    return type(value) is str or (type(value) is int and _in_bits(value, 8))


def parse_date(text: str) -> date | None:
    """Return a date such as 1969-07-20, None if it is invalid."""
    match = _DATE.fullmatch(text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def parse_time(text: str) -> datetime | None:
    """Return a time such as 2024-02-29T12:00:00Z, with any fraction and an offset; None if it is invalid."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, offset = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock}{f'.{fraction[:6]:0<6}' if fraction else ''}{offset}")
    except ValueError:
        return None


def parse_timestamp(value: Any) -> datetime | None:
    """Return a timestamp from milliseconds since 1970 or ISO 8601, None if it is invalid."""
    if type(value) is str:
        return parse_time(value)
    if type(value) is not int or abs(value) > _FURTHEST:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:  # valid, but beyond the range of this class
        return datetime.max.replace(tzinfo=UTC) if value > 0 else datetime.min.replace(tzinfo=UTC)


def _is_timestamp(value: Any) -> bool:
    return parse_timestamp(value) is not None


def _is_timestamp_word(key: str) -> bool:
    return parse_time(key) is not None or (whole_number(key, 64) and _is_timestamp(int(key)))


def _is_date(value: Any) -> bool:
    return type(value) is str and parse_date(value) is not None


def decimal_scalar(type_: DecimalType) -> Scalar:
    """Return the check for a decimal. Decimals are strings, because JSON's numbers lose digits in most programs."""

    def fits(value: Any) -> bool:
        return type(value) is str and _decimal_fits(value, type_)

    return Scalar(f'a decimal number in a string, such as "12.5"{_digits_words(type_)}', fits, fits)


def _digits_words(type_: DecimalType) -> str:
    match type_.precision, type_.scale:
        case None, None:
            return ""
        case precision, None:
            return f" (at most {precision} digits)"
        case None, scale:
            return f" (at most {scale} digits after the point)"
        case precision, scale:
            return f" (at most {precision} digits, {scale} of them after the point)"


def _decimal_fits(text: str, type_: DecimalType) -> bool:
    """Count digits as lib-api.yml: without leading and trailing zeros; of decimal(5, 3) 99.999 is the largest."""
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        return False
    whole, digits = match[1], match[1] + (match[2] or "")
    point = len(whole) + int(match[3] or 0)
    start, end = len(digits) - len(digits.lstrip("0")), len(digits.rstrip("0"))
    before, after = (max(0, point - start), max(0, end - point)) if end else (0, 0)
    if type_.scale is not None and after > type_.scale:
        return False
    return type_.precision is None or (
        before <= type_.precision - (type_.scale or 0) and before + after <= type_.precision
    )


def _anything(_: Any) -> bool:
    return True


_BYTES: Final = Scalar("bytes in a string", _is_string, _is_string)

SCALARS: Final[dict[SimpleName, Scalar]] = {
    "boolean": Scalar("true or false", lambda value: type(value) is bool, lambda key: key in {"true", "false"}),
    "byte": Scalar("a byte: an integer from -128 to 127, or a string", _is_byte, _is_string),
    "short": _whole(16, "an integer of 16 bits"),
    "integer": _whole(32, "an integer of 32 bits"),
    "long": _whole(64, "an integer of 64 bits", text_too=True),
    "float": Scalar("a number", _is_number, _is_number_word),
    "double": Scalar("a number", _is_number, _is_number_word),
    "string": Scalar("a string", _is_string, _is_string),
    "binary": _BYTES,
    "date": Scalar('a date such as "1969-07-20"', _is_date, _is_date),
    "timestamp": Scalar(
        'milliseconds since 1970, or a time such as "1969-07-20T20:17:40Z"', _is_timestamp, _is_timestamp_word
    ),
    "ontologyEdit": Scalar("an edit", _anything, _anything),
    "unknown": Scalar("any value", _anything, _anything),
}
