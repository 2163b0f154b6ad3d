"""What ends a measurement before its time."""

from typing import Any

import msgspec

_LONGEST = 200


class NotMeasuredError(Exception):
    """The function, or the worker, fails. The text says how."""


class Interrupted(Exception):  # noqa: N818 - an order, not an error
    """Somebody wants the program to end."""


def failure_text(message: str, body: bytes) -> str:
    """An error result in words: its message, and the last line of the handler's stderr where it has one."""
    lines = _stderr(body).strip().splitlines()
    return f"{message}; its stderr ends: {lines[-1][-_LONGEST:].strip()}" if lines else message


def _stderr(body: bytes) -> str:
    try:
        members: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    text = members.get("stderr") if isinstance(members, dict) else None
    return text if isinstance(text, str) else ""
