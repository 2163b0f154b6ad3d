"""A greeting. Each line of stdin is a query; its result is a line on file descriptor 3. What is printed is a log.

What is loaded here, at the top, is loaded once and serves one job after another.
"""

import json
import sys
from typing import Any


def greet(query: dict[str, Any]) -> str:
    """Serve one query. sys.exit with a text ends the job with that error; the next one gets a new process."""
    if not query.get("name"):
        sys.exit("the name is empty")
    return f"Hello, {query['name']}!"


if __name__ == "__main__":
    with open(3, "w", encoding="utf-8") as results:
        for line in sys.stdin.buffer:
            print(json.dumps(greet(json.loads(line))), file=results, flush=True)
