"""Man pages as roff reads them: man(7)."""

import re
from collections.abc import Iterable


def page(name: str, number: int, short: str, *sections: tuple[str, str]) -> str:
    """A whole page. A section without text is left out."""
    head = f'.TH {name.upper()} {number} "" "cm\\-exec"\n.nh\n.ad l\n.SH NAME\n{escaped(name)} \\- {escaped(short)}\n'
    return head + "".join(f".SH {title}\n{text}\n" for title, text in sections if text)


def prose(*paragraphs: str) -> str:
    """Paragraphs of text."""
    return "\n.PP\n".join(map(line, paragraphs))


def entries(terms: Iterable[tuple[str, str]]) -> str:
    """Each term in bold, and under it what it is; a line break there is one."""
    return "\n".join(f".TP\n.B {escaped(term)}\n" + "\n.br\n".join(map(line, text.split("\n"))) for term, text in terms)


def line(text: str) -> str:
    """A line of text: one that begins with a dot or a quote would be a command of roff."""
    whole = escaped(text.replace("`", ""))
    return f"\\&{whole}" if re.match(r"[.']", whole) else whole


def escaped(text: str) -> str:
    """The text without what roff takes for its own."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
