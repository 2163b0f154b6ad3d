"""Percentiles, medians and spreads."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie, by linear interpolation.

    Raises ValueError if there are no values.
    """
    if not sorted_values:
        raise ValueError("no values")
    position = share * (len(sorted_values) - 1)
    below = int(position)
    above = min(below + 1, len(sorted_values) - 1)
    return sorted_values[below] + (sorted_values[above] - sorted_values[below]) * (position - below)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, the least and the greatest of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise values. Raises ValueError if there are none."""
        if not values:
            raise ValueError("no values")
        return cls(statistics.median(values), min(values), max(values))


def ratios(values: Sequence[float], base: Sequence[float]) -> Spread:
    """Divide values by those of the same round, so that a drift of the machine affects both.

    Raises ValueError if the numbers of rounds differ.
    """
    return Spread.of([value / other for value, other in zip(values, base, strict=True)])
