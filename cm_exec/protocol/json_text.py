"""Whether bytes are a JSON text (RFC 8259)."""

import json
from typing import Any, NoReturn

import msgspec


def json_problem(text: bytes) -> str | None:
    """What is wrong with `text` as one JSON value in UTF-8; None when it is one."""
    try:
        text.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8"
    except (msgspec.DecodeError, RecursionError) as error:
        return None if _is_json_all_the_same(text) else str(error)
    return None


def _is_json_all_the_same(text: bytes) -> bool:
    r"""Half a surrogate pair (`"\ud83d"`) is JSON, though msgspec refuses it."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text.decode(), parse_constant=refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


class InvalidJsonError(Exception):
    """Raised for bytes that are not JSON. Its text gives the reason."""


def decode_json(text: bytes) -> Any:
    """Return the value of a JSON text. A number beyond the range of a double becomes infinite.

    Raises InvalidJsonError.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        raise InvalidJsonError(json_problem(text) or "it is nested too deep") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < 400 else float(digits)  # noqa: PLR2004 - a double ends at 309
