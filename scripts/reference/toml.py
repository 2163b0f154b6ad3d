"""Values as TOML writes them on one line."""

import json
from typing import Any


def toml_value(value: Any) -> str:
    """The value, such as `{ MODEL = "/models/a" }`."""
    match value:
        case dict():
            inner = ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case float() if value.is_integer():
            return f"{value:.0f}"
        case _:
            return json.dumps(value, ensure_ascii=False)
