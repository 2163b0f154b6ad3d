"""Values and keys as TOML text on one line."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Final

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(name: str) -> str:
    """Return a name as a TOML key, in quotes if it needs them."""
    return name if _BARE_KEY.fullmatch(name) else toml_value(name)


def toml_value(value: object) -> str:
    """Return a value as TOML. Raises TypeError for a value that TOML cannot express, such as None."""
    match value:
        case bool() | str():  # JSON's strings are TOML's, except for one control character
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return str(value)
        case dt.date() | dt.time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case Mapping():
            pairs = ", ".join(f"{toml_key(str(name))} = {toml_value(inner)}" for name, inner in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise TypeError(f"TOML has no {type(value).__name__}")
