"""Readings that stand far from the rest, by the median absolute deviation."""

import json
import statistics
import sys

query = json.load(sys.stdin)
readings = query["readings"]
limit = query.get("limit", 3.5)

median = statistics.median(readings)
deviation = statistics.median(abs(reading - median) for reading in readings)
if not deviation:
    sys.exit("more than half of the readings are the same: there is no spread to measure by")

scores = [abs(reading - median) * 0.6745 / deviation for reading in readings]
outliers = [i for i, score in enumerate(scores) if score > limit]
json.dump({"median": median, "outliers": outliers}, sys.stdout)
