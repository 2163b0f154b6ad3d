"""Man pages in roff, see man(7)."""

import re
from collections.abc import Iterable


def page(name: str, number: int, short: str, *sections: tuple[str, str]) -> str:
    """Return a whole page, without sections that have no text."""
    head = f'.TH {name.upper()} {number} "" "cm\\-exec"\n.nh\n.ad l\n.SH NAME\n{escaped(name)} \\- {escaped(short)}\n'
    return head + "".join(f".SH {title}\n{text}\n" for title, text in sections if text)


def prose(*paragraphs: str) -> str:
    """Return paragraphs of text."""
    return "\n.PP\n".join(map(line, paragraphs))


def entries(terms: Iterable[tuple[str, str]]) -> str:
    """Return each term in bold and its text below; line breaks are kept."""
    return "\n".join(f".TP\n.B {escaped(term)}\n" + "\n.br\n".join(map(line, text.split("\n"))) for term, text in terms)


def line(text: str) -> str:
    """Return a line of text. A dot or quote at its start is escaped: it would be a command of roff."""
    whole = escaped(text.replace("`", ""))
    return f"\\&{whole}" if re.match(r"[.']", whole) else whole


def escaped(text: str) -> str:
    """Return the text with roff's special characters escaped."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
