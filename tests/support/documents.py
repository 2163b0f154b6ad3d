"""Parse the documents of the repository: blocks of code, links, anchors.

A block whose first line is a comment with a file's name is that file for the console blocks below it on the page,
until another has its name: `# cm.toml`, `// app.mjs`. A `console` block is run in a folder with those files: after `$ `
stands a command, and then what it prints, `…` for anything within a line, and a line of `…` for any lines. A comment
with a table's name, `# [launcher]`, makes a block a fragment of a cm.toml.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.reference.markdown import slug

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)

_BLOCK: Final = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^ *(?P=fence)$", re.MULTILINE | re.DOTALL
)
_FILE: Final = re.compile(r"(?:#|//) (?P<name>[\w.-]+\.\w+|Dockerfile|Makefile)$")
_FRAGMENT: Final = re.compile(r"# (?P<table>\[+[\w.]+\]+)$")
_LINK: Final = re.compile(r"\]\((?P<inline>[^()\s]+)\)|^\[[^\]]+\]: (?P<reference>\S+)", re.MULTILINE)
_HEADING: Final = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code. `line` is the line of its fence, from 1."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str:
        """The name of the file that the block shows, empty for none."""
        match = _FILE.match(self.text.partition("\n")[0])
        return match["name"] if match else ""

    @property
    def fragment_of(self) -> str:
        """The table of cm.toml that the block shows a part of, such as `[launcher]`, empty for none."""
        match = _FRAGMENT.match(self.text.partition("\n")[0])
        return match["table"] if match else ""


def blocks(page: Path) -> Iterator[Block]:
    """Return the blocks of the page in order."""
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        indent = len(match["indent"])
        inner = "".join(line[indent:] or "\n" for line in match["text"].splitlines(keepends=True))
        yield Block(language=match["language"], text=inner, line=text.count("\n", 0, match.start()) + 1)


def prose(page: Path) -> str:
    """Return the page without its blocks of code."""
    return re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", page.read_text()))


def links(page: Path) -> list[str]:
    """Return the targets of the page's links and pictures."""
    return [match["inline"] or match["reference"] for match in _LINK.finditer(prose(page))]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings as GitHub creates them: repeated ones have a number."""
    found: dict[str, int] = {}
    names: set[str] = set()
    for heading in _HEADING.findall(_BLOCK.sub("", page.read_text())):
        name = slug(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))
        count = found.get(name, 0)
        found[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def shown(page: Path) -> str:
    """Return the path of the page in the repository."""
    return str(page.relative_to(ROOT))
