"""Values and keys as TOML text on one line."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(name: str) -> str:
    """Return a name as a TOML key, in quotes if it needs them."""
    return name if _BARE_KEY.fullmatch(name) else toml_value(name)


def toml_value(value: Any) -> str:
    """Return a string, number, boolean, array or table as TOML: mostly JSON's text."""
    match value:
        case Mapping():
            pairs = ", ".join(f"{toml_key(name)} = {toml_value(inner)}" for name, inner in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case float() if value.is_integer():
            return f"{value:.1f}"
        case _:
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
