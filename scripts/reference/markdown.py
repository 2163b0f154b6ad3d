"""Markdown for GitHub and for the site."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

_BLOCK: Final = re.compile(
    r"^(<!-- generated: (?P<name>[\w-]+); `make reference` writes it -->\n).*?(^<!-- end -->$)",
    re.MULTILINE | re.DOTALL,
)


class BlockMissingError(Exception):
    """Raised for a page that has no place for a block, or a place for an unknown block."""


def with_blocks(page: Path, blocks: Mapping[str, str]) -> str:
    """Return the page with each generated block in its place. Raises BlockMissingError."""
    text = page.read_text()
    places = [match["name"] for match in _BLOCK.finditer(text)]
    if sorted(places) != sorted(blocks):
        raise BlockMissingError(f"{page.name} has places for {places}, and there are {sorted(blocks)}")
    return _BLOCK.sub(lambda match: f"{match[1]}\n{blocks[match['name']].strip()}\n\n{match[3]}", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; pipes in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")
