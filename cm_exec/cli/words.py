"""Numbers as people read them."""

from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_MIB: Final = 1024 * 1024


def duration_text(seconds: float) -> str:
    """Three digits or so: 0.52 ms, 12.3 ms, 230 ms, 1.25 s."""
    if seconds < 0.9995:  # noqa: PLR2004 - what rounds to 1000 ms is a second
        return f"{_digits(seconds * 1000)} ms"
    return f"{_digits(seconds)} s"


def rate_text(rate: float) -> str:
    """A number of jobs per second."""
    return _digits(rate)


def bytes_text(size: int) -> str:
    """A size in MiB."""
    return f"{_digits(size / _MIB)} MiB"


def count_text(count: int, noun: str) -> str:
    """The count with its noun: 1 replica, 2 replicas."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def bar(share: float, width: int, *, unicode: bool = True) -> str:
    """A bar for `share`, 0 to 1, of `width` characters; in eighths of a character, or of # in plain ASCII."""
    if not unicode:
        return "#" * max(1, round(share * width))
    whole, rest = divmod(max(1, round(share * width * 8)), 8)
    return "█" * whole + _EIGHTHS[rest].strip()


def _digits(number: float) -> str:
    if number >= 99.95:  # noqa: PLR2004 - what rounds to 100
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"  # noqa: PLR2004
