"""Numbers of a run: percentiles, medians and their spread."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, by linear interpolation.

    Raises ValueError when there are none.
    """
    if not sorted_values:
        raise ValueError("no values")
    position = share * (len(sorted_values) - 1)
    below = int(position)
    above = min(below + 1, len(sorted_values) - 1)
    return sorted_values[below] + (sorted_values[above] - sorted_values[below]) * (position - below)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of repeated measurements, and the least and the greatest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Raises ValueError when there are no values."""
        if not values:
            raise ValueError("no values")
        return cls(statistics.median(values), min(values), max(values))


def ratios(values: Sequence[float], base: Sequence[float]) -> Spread:
    """How many times `base` the values are, round by round: what drifts in a run then drifts in both.

    Raises ValueError when the rounds do not pair up.
    """
    return Spread.of([value / other for value, other in zip(values, base, strict=True)])
