"""Print how the official Python SDK, and cm_handler.py, pass a query to a function; run by the SDK's Python.

usage: sdk_payload.py FOLDER-OF-CM_HANDLER QUERY
"""

import json
import sys
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypedDict

sys.path.insert(0, sys.argv[1])
import cm_handler  # type: ignore[import-not-found]  # it is in that folder
from compute_modules.function_registry.function_payload_converter import convert_payload  # type: ignore[import-not-found]
from compute_modules.function_registry.function_schema_parser import parse_function_schema  # type: ignore[import-not-found]
from compute_modules.function_registry.types import Long  # type: ignore[import-not-found]


@dataclass
class Point:
    x: float
    label: str = "none"


class Event(TypedDict):
    flag: bool
    number: int
    long: Long
    ratio: float
    text: str
    data: bytes
    day: date
    at: datetime
    later: datetime
    price: Decimal
    points: list[Point]
    names: set[str]
    by_number: dict[int, Point]
    by_day: dict[date, Decimal]


def function(event: Event) -> int:
    return event["number"]


if __name__ == "__main__":
    query = json.loads(sys.argv[2])
    tree = parse_function_schema(function, "function", [], {}).class_node
    served = cm_handler.Served(function)
    print(repr(convert_payload(json.loads(sys.argv[2]), tree)))
    print(repr(served.inputs(query)["event"]))
