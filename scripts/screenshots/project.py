"""A project to show: some functions, and what was called of them."""

import json
import struct
import zlib
from pathlib import Path
from typing import Final

CM_TOML: Final = '''\
[functions.thumbnail]
command = ["python3", "thumbnail.py"]
description = "The picture, smaller, as PNG"

[functions.forecast]
command = ["python3", "forecast.py"]
description = "Monthly demand from the history of orders"
inputs = { product = "string", months = "integer", seasonal = "optional<boolean>" }
returns = "struct<product: string, mean: double, months: list<double>>"

[functions.word_count]
command = """jq 'if type == "string" then split(" ") | length else "no text" end'"""
returns = "integer"

[functions]
legacy_report = "echo reading /data/ledger.dat >&2; echo 'ledger.dat: record 1172 is cut short' >&2; exit 3"

[launcher]
concurrency = 2
'''

FORECAST: Final = """\
import json, random, sys, time
query = json.load(sys.stdin)
random.seed(query["product"])
print(f"model for {query['product']}: 36 months of history", file=sys.stderr, flush=True)
time.sleep(random.Random().lognormvariate(-3.2, 0.7))
base = random.uniform(80, 160)
months = [round(base * (1 + 0.2 * random.uniform(-1, 1)), 2) for _ in range(query["months"])]
print(f"fitted in 14 iterations, mape 4.{random.randint(0, 9)} %", file=sys.stderr)
json.dump({"product": query["product"], "mean": round(sum(months) / len(months), 2), "months": months}, sys.stdout)
"""


def png(width: int, height: int) -> bytes:
    """Draw hills at dusk."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows += bytes(_pixel(x / width, y / height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _pixel(x: float, y: float) -> tuple[int, int, int]:
    near = 0.72 + 0.06 * (1 - (2 * x - 0.6) ** 2)
    far = 0.56 - 0.16 * max(0.0, 1 - abs(x - 0.68) * 3.2) - 0.1 * max(0.0, 1 - abs(x - 0.25) * 3)
    if (x - 0.62) ** 2 + (y * 0.66 - 0.2) ** 2 < 0.0026:  # noqa: PLR2004 - the sun
        return 255, 236, 196
    if y > near:
        return 34, 54, 58
    if y > far:
        return int(74 + 30 * y), int(88 + 20 * y), 120
    return int(70 + 170 * y), int(96 + 96 * y), int(150 + 20 * y)


def write_project(folder: Path) -> None:
    """Write cm.toml and the handlers."""
    (folder / "cm.toml").write_text(CM_TOML)
    (folder / "forecast.py").write_text(FORECAST)
    (folder / "scene.png").write_bytes(png(480, 270))
    thumbnail = "import sys\nsys.stdin.read()\nprint('480 x 270', file=sys.stderr)\n"
    thumbnail += "sys.stdout.buffer.write(open('scene.png', 'rb').read())\n"
    (folder / "thumbnail.py").write_text(thumbnail)


PRODUCTS: Final = ("anchor bolts", "brake pads", "cable ties", "drill bits", "end caps")


def calls() -> list[tuple[str, bytes]]:
    """Functions and queries, in the order in which they were called."""
    made: list[tuple[str, bytes]] = []
    for round_ in range(9):
        made += [("forecast", _query(product=product, months=6 + round_)) for product in PRODUCTS]
        made.append(("word_count", b'"the quick brown fox"'))
        if round_ % 3 == 1:
            made.append(("legacy_report", _query(year=2019 + round_)))
        made.append(("thumbnail", _query(scene="dusk", width=480, tags=["hills"])))
    made.insert(-4, ("word_count", b"42"))
    return made


def _query(**members: object) -> bytes:
    return json.dumps(members).encode()
