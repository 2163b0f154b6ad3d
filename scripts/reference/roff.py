"""Man pages as roff reads them: man(7)."""

import re
from collections.abc import Iterable


def page(name: str, number: int, short: str, *sections: tuple[str, str]) -> str:
    """Format a page without its empty sections."""
    head = f'.TH {name.upper()} {number} "" "cm\\-exec"\n.nh\n.ad l\n.SH NAME\n{escaped(name)} \\- {escaped(short)}\n'
    return head + "".join(f".SH {title}\n{text}\n" for title, text in sections if text)


def prose(*paragraphs: str) -> str:
    """Paragraphs of text."""
    return "\n.PP\n".join(map(line, paragraphs))


def entries(terms: Iterable[tuple[str, str]]) -> str:
    """Each term in bold, and under it what it is; a line break there is one."""
    return "\n".join(f".TP\n.B {escaped(term)}\n" + "\n.br\n".join(map(line, text.split("\n"))) for term, text in terms)


def line(text: str) -> str:
    """Format a line of text. With a dot or a quote at its start roff would take it for a command."""
    whole = escaped(text.replace("`", ""))
    return f"\\&{whole}" if re.match(r"[.']", whole) else whole


def escaped(text: str) -> str:
    """Escape the characters that have a meaning in roff."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
