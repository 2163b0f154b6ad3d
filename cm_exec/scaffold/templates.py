"""Reads the templates beside this file.

A folder of templates becomes files of the same names. `@NAME@` is replaced in a file whose name ends in `.in`; `dot-`
at the start of a name becomes a dot, so that no tool takes such a template for a file of this repository.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

TEMPLATES: Final = Path(__file__).with_name("templates")
_VALUE: Final = re.compile(r"@([A-Z]+)@")

Files = dict[str, str]
"""The text of each file, by its path in the new folder, in the order to show them."""


def read_folder(folder: str, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each template in a folder, such as `python/once`, with `values` filled in."""
    root = TEMPLATES / folder
    for path in sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        relative = path.relative_to(root)
        name = relative.name.replace("dot-", ".", 1) if relative.name.startswith("dot-") else relative.name
        text = path.read_text(encoding="utf-8")
        if name.endswith(".in"):
            name, text = name.removesuffix(".in"), filled(text, values)
        yield str(relative.with_name(name)), text


def read_part(name: str, values: Mapping[str, str] | None = None) -> str:
    """Return a template that is a part of a file, with `values` filled in if given; empty if it does not exist."""
    path = TEMPLATES / name
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8")
    return text if values is None else filled(text, values)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return the text with each `@NAME@` replaced. Values are inserted as they are."""
    return _VALUE.sub(lambda match: values[match[1]], text)
