"""Tables as text, for a terminal and for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

Align = Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the heads of the columns, and the cells. The first column is aligned left, the others right."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Self:
        """Create a table. Raises ValueError if a row does not have as many cells as there are heads."""
        if any(len(row) != len(heads) for row in rows):
            raise ValueError("a row has as many cells as there are heads")
        return cls(title, tuple(heads), tuple(tuple(row) for row in rows))

    def text(self) -> str:
        """Format the table for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        lines = [self._line(row, widths) for row in (self.heads, *self.rows)]
        rule = "─" * (sum(widths) + 3 * (len(widths) - 1))
        return "\n".join([self.title, lines[0], rule, *lines[1:]])

    def markdown(self) -> str:
        """Format the table for a page; a title becomes a heading of the third level."""
        title = [f"### {self.title}", ""] if self.title else []
        rules = ["---", *(["---:"] * (len(self.heads) - 1))]
        return "\n".join([*title, *(f"| {' | '.join(row)} |" for row in (self.heads, rules, *self.rows))])

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "   ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()
