"""A handler for mode persistent, and for a service with several jobs at a time: it returns each query.

A message with a jobId is in the envelope of a service, and so is its answer. It keeps MODEL_MIB MiB of memory, as a
model would.
"""

import json
import os
import sys

MODEL = bytearray(b"\1") * (int(os.environ.get("MODEL_MIB", "0")) << 20)

for line in sys.stdin:
    message = json.loads(line)
    answer = {"jobId": message["jobId"], "result": message["query"]} if "jobId" in message else message
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
