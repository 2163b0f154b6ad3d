"""The cm.toml that a worker is measured with: one function of the user's, in one mode."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Final

from cm_exec.config.combinations import fitting
from cm_exec.config.types import Function, Mode

_KEPT_OF_LAUNCHER: Final = ("log_format", "log_level")
"""What makes a difference to speed. The others are for the platform, or are what is varied."""


def variant_text(document: Mapping[str, Any], function: Function, mode: Mode) -> str:
    """The text of a cm.toml with `function` alone, in `mode`.

    `document` is the user's file as TOML has it. Types and defaults are taken over as they stand; what is said for
    a mode that is not measured is left out; `cwd` is absolute, as the text stands elsewhere.
    """
    entry = document["functions"][function.name]
    own = {"command": entry} if isinstance(entry, str) else entry
    own = {**fitting(own, {"mode": mode}), "mode": mode, "cwd": str(function.cwd)}
    launcher = {key: value for key, value in document.get("launcher", {}).items() if key in _KEPT_OF_LAUNCHER}
    shared = {key: document[key] for key in ("defaults", "types") if key in document}
    tables = {"functions": {function.name: own}, "launcher": launcher, **shared}
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in tables.items())


def toml_value(value: object) -> str:
    """A value as TOML writes it in one line; raises TypeError for what is none of TOML's."""
    match value:
        case bool() | str():
            # JSON's texts are TOML's, but for one control character
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return str(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case Mapping():
            pairs = (f"{toml_value(str(key))} = {toml_value(item)}" for key, item in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case _:
            raise TypeError(f"TOML has no {type(value).__name__}")
