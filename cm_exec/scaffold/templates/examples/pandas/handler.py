"""Means by group with pandas. Each line of stdin is a query; its result is a line on file descriptor 3."""

import json
import sys
from typing import Any

import pandas as pd


def mean_by_group(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean and the number of values of each group."""
    frame = pd.DataFrame(rows, columns=["group", "value"])
    means = frame.groupby("group")["value"].agg(["mean", "count"]).reset_index()
    # JSON has no NaN, and the json module writes no numpy type: to_json turns both into plain JSON
    found: list[dict[str, Any]] = json.loads(means.to_json(orient="records", double_precision=15))
    return found


if __name__ == "__main__":
    with open(3, "w", encoding="utf-8") as results:
        for line in sys.stdin.buffer:
            print(json.dumps(mean_by_group(json.loads(line)["rows"])), file=results, flush=True)
