"""Play `cm-exec conform` against cm-exec, the official SDKs and the original page's client; write docs/conformance.md.

usage: python -m scripts.conformance   (needs scripts/install-official-sdks)
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
WORKERS: Final = ROOT / "tests" / "dev" / "workers"
PAGE: Final = ROOT / "docs" / "conformance.md"
TABLE_BEGIN: Final = "<!-- table -->"
TABLE_END: Final = "<!-- end of table -->"


@dataclass(frozen=True)
class Candidate:
    """A worker that is checked, by the heading of its column."""

    title: str
    command: tuple[str, ...]
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


CM_EXEC: Final = str(Path(sys.executable).with_name("cm-exec"))
CANDIDATES: Final = (
    Candidate("cm-exec", (CM_EXEC, "run", "--config", str(WORKERS / "echo.toml"))),
    Candidate("Python SDK 0.34.0", (str(ROOT / ".venv-sdk-python/bin/python"), str(WORKERS / "python_sdk.py"))),
    Candidate(
        "TypeScript SDK 0.2.7",
        ("node", str(WORKERS / "typescript_sdk.cjs")),
        environment={"NODE_PATH": str(ROOT / ".sdk-typescript/node_modules")},
    ),
    Candidate(
        "original page's client",
        (sys.executable, str(WORKERS / "original_page.py")),
        options=("--env-style", "connection-file"),
    ),
)


def conform(candidate: Candidate) -> dict[str, Any]:
    """Return the report on one worker."""
    command = [CM_EXEC, "conform", "--json", "--jobs", "4", *candidate.options, "--", *candidate.command]
    environment = {**os.environ, **candidate.environment}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, text=True, timeout=280)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    report: dict[str, Any] = json.loads(done.stdout)
    return {**report, "exitStatus": done.returncode}


def table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the reports as a table: a row for each rule, a column for each worker."""
    lines = [f"| the worker | {' | '.join(reports)} |", f"|{'---|' * (len(reports) + 1)}"]
    for row in zip(*(report["rules"] for report in reports.values()), strict=True):
        cells = (f"{'yes' if each['holds'] else '**no**'}: {each['observed']}" for each in row)
        lines.append(" | ".join(["", row[0]["rule"].removeprefix("The worker "), *map(_escaped, cells), ""]).strip())
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("{", "&#123;")


def published() -> dict[str, list[bool]]:
    """Return which rules hold for each worker, as the page says."""
    rows = [line.strip("|").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    titles = [title.strip() for title in rows[0][1:]]
    return {title: [row[index + 1].strip().startswith("yes") for row in rows[1:]] for index, title in enumerate(titles)}


def main() -> None:
    """Write the table."""
    reports = {candidate.title: conform(candidate) for candidate in CANDIDATES}
    text = PAGE.read_text()
    before, after = text.partition(TABLE_BEGIN)[0], text.partition(TABLE_END)[2]
    PAGE.write_text(f"{before}{TABLE_BEGIN}\n{table(reports)}\n{TABLE_END}{after}")
    print(f"written: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
