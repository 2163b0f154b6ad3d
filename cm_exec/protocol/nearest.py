"""The right name that is nearest to a wrong one."""

from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 80


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was most likely meant, None where none is near."""
    import difflib  # noqa: PLC0415 - only mistakes need it

    by_spelling = {_spelling(known): known for known in names}
    matches = difflib.get_close_matches(_spelling(name[:_LONGEST]), by_spelling, n=1)
    return by_spelling[matches[0]] if matches else None


def _spelling(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
