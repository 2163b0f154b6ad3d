"""A model server with asyncio: jobs wait for the next batch, and the model works in a thread beside the loop."""

import asyncio
import json
import os
import sys

results = os.fdopen(3, "w", encoding="utf-8")
waiting = asyncio.Queue()
tasks = {}


def send(**members):
    results.write(json.dumps(members) + "\n")
    results.flush()


def model(texts):
    """Replace this by a real model: here a vector has the numbers of vowels, other letters, and digits."""
    kinds = (lambda c: c in "aeiou", lambda c: c.isalpha() and c not in "aeiou", str.isdigit)
    return [[sum(map(kind, text.lower())) for kind in kinds] for text in texts]


async def run_batches():
    while True:
        batch = [await waiting.get()]
        while not waiting.empty():
            batch.append(waiting.get_nowait())
        vectors = await asyncio.to_thread(model, [text for text, _ in batch])
        for (_, vector), value in zip(batch, vectors, strict=True):
            if not vector.cancelled():
                vector.set_result(value)


async def answer(job_id, query):
    try:
        vector = asyncio.get_running_loop().create_future()
        waiting.put_nowait((str(query["text"]), vector))
        send(jobId=job_id, result=await vector)
    except asyncio.CancelledError:
        send(jobId=job_id, error="cancelled")  # nobody waits for it, but the process is free for the next job
    except (KeyError, TypeError) as error:
        send(jobId=job_id, error=f"{type(error).__name__}: {error}")
    finally:
        tasks.pop(job_id, None)


async def main():
    stdin = asyncio.StreamReader(limit=64 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    batches = asyncio.create_task(run_batches())
    while line := await stdin.readline():
        job = json.loads(line)
        job_id = job["jobId"]
        if "query" in job:
            tasks[job_id] = asyncio.create_task(answer(job_id, job["query"]))
        elif job_id in tasks:
            tasks[job_id].cancel()
    batches.cancel()


asyncio.run(main())
