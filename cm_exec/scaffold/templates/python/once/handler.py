"""A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log."""

import json
import sys
from typing import Any


def greet(query: dict[str, Any]) -> str:
    """Serve one query. sys.exit with a text ends the job with that error."""
    if not query.get("name"):
        sys.exit("the name is empty")
    return f"Hello, {query['name']}!"


if __name__ == "__main__":
    json.dump(greet(json.load(sys.stdin.buffer)), sys.stdout)
