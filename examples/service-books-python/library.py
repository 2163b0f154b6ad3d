"""Two functions that share the books of one process."""

import json
import sys

books = {"978-0141439518": {"title": "Pride and Prejudice"}}


def add_book(query):
    books[query["isbn"]] = {"title": query["title"]}
    return {"isbn": query["isbn"]}


def get_book(query):
    if query["isbn"] not in books:
        raise LookupError("no book has this ISBN")
    return books[query["isbn"]]


functions = {"addBook": add_book, "getBook": get_book}

for line in sys.stdin:
    job = json.loads(line)
    if job.get("cancel"):
        continue  # this program has one job at a time: it has answered, or will soon
    try:
        answer = {"result": functions[job["queryType"]](job["query"])}
    except (LookupError, TypeError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"jobId": job["jobId"], **answer}), flush=True)
