"""A model server: one thread reads jobs while the model works, and the model gets all waiting jobs in one call."""

import json
import os
import queue
import sys
import threading

LARGEST_BATCH = 16
WEIGHTS = {"good": 2, "great": 3, "fine": 1, "slow": -1, "bad": -2, "awful": -3}

results = os.fdopen(3, "w", encoding="utf-8")
waiting = queue.SimpleQueue()


def send(**members):
    results.write(json.dumps(members) + "\n")
    results.flush()


def read_jobs():
    for line in sys.stdin:
        job = json.loads(line)
        if not job.get("cancel"):
            waiting.put(job)
    waiting.put(None)


def model(texts):
    """Replace this by a real model, which takes a batch in the time of one text."""
    return [sum(WEIGHTS.get(word.strip(".,!?"), 0) for word in text.lower().split()) for text in texts]


def next_batch():
    batch = [waiting.get()]
    while batch[-1] is not None and len(batch) < LARGEST_BATCH and not waiting.empty():
        batch.append(waiting.get())
    return batch


threading.Thread(target=read_jobs, daemon=True).start()
print("the model is loaded")  # stdout is a log with result_fd = 3
send(ready=True)

batch = []
while batch[-1:] != [None]:
    batch = next_batch()
    valid = []
    for job in filter(None, batch):
        if isinstance(job["query"], dict) and isinstance(job["query"].get("text"), str):
            valid.append(job)
        else:
            send(jobId=job["jobId"], error="the text must be a string")
    for job, score in zip(valid, model([job["query"]["text"] for job in valid]), strict=True):
        send(jobId=job["jobId"], result={"score": score})
