"""Rows of a database. Each line of stdin is a query; its result is a line on file descriptor 3.

The credentials come from a source of the compute module: the platform writes them to the file that the variable
SOURCE_CREDENTIALS names. Without it, the handler uses demonstration data in SQLite.
"""

import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any


def connect() -> tuple[Any, str]:
    """Open the connection; return it with the database's placeholder for values."""
    credentials = os.environ.get("SOURCE_CREDENTIALS")
    if not credentials:
        return demonstration(), "?"
    import psycopg  # for PostgreSQL; see requirements.txt

    secrets = json.loads(Path(credentials).read_text(encoding="utf-8"))[os.environ["SOURCE_NAME"]]
    # The names of the secrets are those that you gave them in the source.
    return psycopg.connect(
        host=secrets["host"], dbname=secrets["database"], user=secrets["user"], password=secrets["password"]
    ), "%s"


def demonstration() -> sqlite3.Connection:
    """Return a database with a few rows."""
    connection = sqlite3.connect(":memory:")
    connection.execute("create table orders (number integer, customer text, total real)")
    rows = [(1, "Ada", 12.5), (2, "Grace", 3.0), (3, "Ada", 99.0)]
    connection.executemany("insert into orders values (?, ?, ?)", rows)
    return connection


def orders_of(connection: Any, placeholder: str, customer: str) -> list[dict[str, Any]]:
    """Return the orders of a customer. Values are passed as parameters, never as a part of the statement."""
    cursor = connection.cursor()
    cursor.execute(
        f"select number, total from orders where customer = {placeholder} order by number desc", (customer,)
    )
    return [{"number": number, "total": total} for number, total in cursor.fetchall()]


if __name__ == "__main__":
    connection, placeholder = connect()
    with open(3, "w", encoding="utf-8") as results:
        for line in sys.stdin.buffer:
            found = orders_of(connection, placeholder, json.loads(line)["customer"])
            print(json.dumps(found), file=results, flush=True)
