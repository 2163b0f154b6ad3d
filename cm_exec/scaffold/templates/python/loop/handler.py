"""A greeting. Each line of stdin is a query, each line of stdout its result, and stderr is the log.

What is loaded here, at the top, is loaded once and serves one job after another.
"""

import json
import sys
from typing import Any


def greet(query: dict[str, Any]) -> str:
    """What the function does. sys.exit with a text ends the job with that error; the next one gets a new process."""
    if not query.get("name"):
        sys.exit("the name is empty")
    return f"Hello, {query['name']}!"


if __name__ == "__main__":
    for line in sys.stdin.buffer:
        print(json.dumps(greet(json.loads(line))), flush=True)
