"""Words and their places in a text. What is loaded here is loaded once, and serves one job after another."""

import json
import os
import re
import sys

results = os.fdopen(3, "w", encoding="utf-8")
WORD = re.compile(r"\w+")

print("ready")  # stdout is a log, as stderr is: no library that prints can get into a result
for line in sys.stdin:
    text = json.loads(line)["text"]
    tokens = [{"word": found.group(), "at": found.start()} for found in WORD.finditer(text)]
    results.write(json.dumps(tokens) + "\n")
    results.flush()
