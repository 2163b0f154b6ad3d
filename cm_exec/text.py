"""Text for people: suggestions, quotes, TOML, escapes, counts, durations, sizes and tables."""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

_LONGEST_QUOTE: Final = 60
_LONGEST_NAME: Final = 80
_MOST_NAMES: Final = 40


def closest_match(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was most likely meant, None if no name is similar."""
    import difflib  # noqa: PLC0415 - only errors need it

    by_spelling = {_spelling(known): known for known in names}
    matches = difflib.get_close_matches(_spelling(name[:_LONGEST_NAME]), by_spelling, n=1)
    return by_spelling[matches[0]] if matches else None


def _spelling(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def did_you_mean(name: str, names: Iterable[str], *, otherwise: str = "", quote: Callable[[str], str] = str) -> str:
    """Return `did you mean X?`, or if no name is similar `{otherwise} X, Y, Z` with the names that exist.

    Return an empty string if there is nothing to suggest.
    """
    names = list(names)
    if match := closest_match(name, names):
        return f"did you mean {quote(match)}?"
    if not otherwise or not names:
        return ""
    more = ", …" if len(names) > _MOST_NAMES else ""
    return f"{otherwise} {', '.join(map(quote, names[:_MOST_NAMES]))}{more}"


def quoted(text: str) -> str:
    """Return the text in double quotes on one line, as TOML and JSON write it; a long text is cut."""
    return json.dumps(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…", ensure_ascii=False)


_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def toml_key(name: str) -> str:
    """Return a name as a TOML key, in quotes if it needs them."""
    return name if _BARE_KEY.fullmatch(name) else toml_value(name)


def toml_value(value: object) -> str:
    """Return a value as TOML. Raises TypeError for a value that TOML cannot express, such as None."""
    match value:
        case bool() | str():  # JSON's strings are TOML's, except for one control character
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return str(value)
        case dt.date() | dt.time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case Mapping():
            pairs = ", ".join(f"{toml_key(str(name))} = {toml_value(inner)}" for name, inner in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise TypeError(f"TOML has no {type(value).__name__}")


_UNPRINTABLE: Final = (
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"  # compiled when it is needed: most runs do not
)


def visible(text: str, *, keep: str = "") -> str:
    r"""Return the text with control characters and lone surrogates as escapes such as \x1b, except those in `keep`.

    A control character could move the cursor of a terminal or hide a line of a log, and XML cannot contain it.
    """
    if text.isprintable():
        return text
    return re.sub(_UNPRINTABLE, lambda match: match[0] if match[0] in keep else _escape(ord(match[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


def count_text(count: int, noun: str) -> str:
    """Return the count with its noun: 1 replica, 2 replicas."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration_text(seconds: float) -> str:
    """Return a duration with about three digits: 0.52 ms, 12.3 ms, 230 ms, 1.25 s."""
    if seconds < 0.9995:  # noqa: PLR2004 - rounds to less than a second
        return f"{three_digits(seconds * 1000)} ms"
    return f"{three_digits(seconds)} s"


def size_text(size: float) -> str:
    """Return a number of bytes with about three digits: 512 B, 1.5 KiB, 64 MiB."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1023.5:  # noqa: PLR2004 - rounds to less than the next unit
            break
        size, unit = size / 1024, larger
    return f"{size:,.0f} {unit}" if size >= 99.95 else f"{size:.3g} {unit}"  # noqa: PLR2004 - rounds to 100


def three_digits(number: float) -> str:
    """Return a positive number with at least three significant digits: 0.52, 12.3, 230, 1,274."""
    if number >= 99.95:  # noqa: PLR2004 - rounds to 100
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"  # noqa: PLR2004 - rounds to 10


def table_lines(rows: Iterable[Sequence[str]], *, text_columns: int | None = None) -> list[str]:
    """Return the rows as aligned lines; columns after the first `text_columns` contain numbers and are right-aligned.

    By default all columns contain text.
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    split = len(widths) if text_columns is None else text_columns
    return [
        "  ".join(
            cell.ljust(width) if column < split else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
