"""The files of a new folder, from the templates beside this file.

Each folder of templates becomes files of the same names; one that ends in `.in` has `@NAME@` replaced, and `dot-` at
the start of a name is a dot, so that no tool of ours takes such a file for one of its own.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_TEMPLATES: Final = Path(__file__).with_name("templates")
_VALUE: Final = re.compile(r"@([A-Z]+)@")

Files = dict[str, str]
"""What each file holds, by its path in the new folder, in the order to show them."""


def read_folder(folder: str, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The files of a folder of templates, such as `python/once`, filled in."""
    root = _TEMPLATES / folder
    for path in sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        relative = path.relative_to(root)
        name = relative.name.replace("dot-", ".", 1) if relative.name.startswith("dot-") else relative.name
        text = path.read_text(encoding="utf-8")
        if name.endswith(".in"):
            name, text = name.removesuffix(".in"), filled(text, values)
        yield str(relative.with_name(name)), text


def read_part(name: str, values: Mapping[str, str] | None = None) -> str:
    """A template that is a part of a file, or filled in with `values` a file; empty where there is none."""
    path = _TEMPLATES / name
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8")
    return text if values is None else filled(text, values)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with each `@NAME@` replaced. A value stands as it is, whatever is in it."""
    return _VALUE.sub(lambda match: values[match[1]], text)
