"""A handler for mode persistent, and for a service with several jobs at a time: it returns each query.

A message with a jobId is in the envelope of a service, and so is its answer.
"""

import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    answer = {"jobId": message["jobId"], "result": message["query"]} if "jobId" in message else message
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
