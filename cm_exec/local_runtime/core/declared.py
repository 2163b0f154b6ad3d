"""Whether a result is of the type that its function's schema declares."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

LARGEST: Final = 4 * 1024 * 1024
"""A larger result, in bytes, is not read."""

Check = Callable[[Any, Mapping[str, Any], str], str | None]


def mismatch(body: bytes, output: Mapping[str, Any], *, streamed: bool) -> str | None:
    """One sentence on how the result differs from the declared output, None where it does not.

    `output` is the schema's: `{"type": "single", "single": {"dataType": ...}}`. A streamed list may be the
    elements one after another, as the official SDKs send it. What a void function returns is not looked at.
    """
    data_type = _data_type(output)
    if data_type is None or len(body) > LARGEST:
        return None
    try:
        values = list(_values(body, streamed=streamed))
    except (ValueError, RecursionError):
        return f"the declared output is {_name(data_type)}, and the result is not JSON"
    if not streamed:
        return _mismatch(values[0], data_type, "the result")
    if len(values) == 1 and _mismatch(values[0], data_type, "") is None:
        return None
    element_type = _element_type(data_type)
    found = (_mismatch(value, element_type, f"element {index}") for index, value in enumerate(values))
    return next((sentence for sentence in found if sentence), None)


def is_untyped(schema: Mapping[str, Any]) -> bool:
    """Whether this is what SDKs publish where nothing is declared: no inputs, and a string out.

    The author said nothing of the output then, so there is nothing to hold a result to.
    """
    data_type = _data_type(schema.get("output") or {})
    return not schema.get("inputs") and data_type is not None and data_type.get("type") == "string"


def _data_type(output: Mapping[str, Any]) -> Mapping[str, Any] | None:
    single = output.get("single")
    data_type = single.get("dataType") if isinstance(single, dict) else None
    return data_type if isinstance(data_type, dict) else None


def _element_type(data_type: Mapping[str, Any]) -> Mapping[str, Any]:
    if data_type.get("type") in {"list", "set"}:
        return _inner(data_type, "elementsType")
    return data_type


def _values(body: bytes, *, streamed: bool) -> Iterator[Any]:
    if not streamed:
        try:
            yield msgspec.json.decode(body)
        except msgspec.MsgspecError:
            # Numbers beyond a double, halves of surrogate pairs.
            yield json.loads(body, parse_constant=_refuse)
        return
    text = body.decode().strip()
    decoder = json.JSONDecoder(parse_constant=_refuse)
    while text:
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:].lstrip()


def _refuse(constant: str) -> None:
    """Python's reader takes NaN and Infinity, which JSON does not have."""
    raise ValueError(constant)


def _mismatch(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    check = _CHECKS.get(data_type.get("type", ""))
    return None if check is None else check(value, data_type, where)


def _inner(data_type: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    body = data_type.get(data_type["type"])
    inner = body.get(member) if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else {}


def _wrong(value: Any, expected: str, where: str) -> str:
    return f"{where} is {_describe(value)}; declared is {expected}"


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "a list", dict: "a struct"}
    return names.get(type(value), type(value).__name__)


def _name(data_type: Mapping[str, Any]) -> str:
    return str(data_type.get("type"))


def _integer(lowest: int, highest: int) -> Check:
    def check(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return _wrong(value, _name(data_type), where)
        if not lowest <= value <= highest:
            return f"{where} is {value}, out of the range of {_name(data_type)}"
        return None

    return check


def _number(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None
    return _wrong(value, _name(data_type), where)


def _boolean(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    return None if isinstance(value, bool) else _wrong(value, _name(data_type), where)


def _string(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    if isinstance(value, str):
        return None
    return _wrong(value, f"{_name(data_type)}, in JSON a string", where)


def _date(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"\d{4,}-\d\d-\d\d", value):
        return None
    return _wrong(value, f"{_name(data_type)}, such as 1969-07-20", where)


def _timestamp(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    # The documents say milliseconds since the epoch, the official Python SDK writes ISO 8601: both work.
    milliseconds = isinstance(value, int) and not isinstance(value, bool)
    if milliseconds or (isinstance(value, str) and re.match(r"\d{4,}-\d\d-\d\dT\d\d:\d\d", value)):
        return None
    return _wrong(value, f"{_name(data_type)}, milliseconds since the epoch or ISO 8601", where)


def _list(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    if not isinstance(value, list):
        return _wrong(value, _name(data_type), where)
    elements = _inner(data_type, "elementsType")
    found = (_mismatch(element, elements, f"{where}[{index}]") for index, element in enumerate(value))
    return next((sentence for sentence in found if sentence), None)


def _map(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    if not isinstance(value, dict):
        return _wrong(value, _name(data_type), where)
    inner = _inner(data_type, "valuesType")
    found = (_mismatch(member, inner, f"{where}[{json.dumps(key)}]") for key, member in value.items())
    return next((sentence for sentence in found if sentence), None)


def _optional(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    return None if value is None else _mismatch(value, _inner(data_type, "wrappedType"), where)


def _struct(value: Any, data_type: Mapping[str, Any], where: str) -> str | None:
    if not isinstance(value, dict):
        return _wrong(value, "a struct", where)
    fields = _inner(data_type, "fields")
    metadata = _inner(data_type, "fieldMetadata")
    for name, field_type in fields.items():
        if name in value:
            sentence = _mismatch(value[name], field_type, f"{where}.{name}")
        else:
            sentence = _missing(name, field_type, metadata.get(name), where)
        if sentence:
            return sentence
    return None


def _missing(name: str, field_type: Mapping[str, Any], metadata: Any, where: str) -> str | None:
    may_lack = field_type.get("type") == "optionalType" or (
        isinstance(metadata, dict) and metadata.get("required") is False
    )
    return None if may_lack else f"{where} has no {name!r}, which is declared"


_CHECKS: Final[Mapping[str, Check]] = {
    "boolean": _boolean,
    "integer": _integer(-(2**31), 2**31 - 1),
    "long": _integer(-(2**63), 2**63 - 1),
    "short": _integer(-(2**15), 2**15 - 1),
    "float": _number,
    "double": _number,
    "string": _string,
    "byte": _string,
    "binary": _string,
    "decimal": _string,
    "date": _date,
    "timestamp": _timestamp,
    "list": _list,
    "set": _list,
    "map": _map,
    "optionalType": _optional,
    "anonymousCustomType": _struct,
}
"""Types that are not here (`unknown`, `ontologyEdit`, later ones) take anything."""
