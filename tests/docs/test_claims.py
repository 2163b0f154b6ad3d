"""Lists and numbers in the prose are those of the code."""

import re
from typing import Final, get_args

import pytest

from cm_exec.config import Mode, Output, Protocol
from cm_exec.config.schema import LauncherTable
from cm_exec.config.schema.functions import FunctionOptions
from cm_exec.datatypes.syntax import BUILTIN_NAMES, parse_type
from cm_exec.handlers.envelope_process import CANCEL_GRACE
from cm_exec.handlers.spool import MEMORY_LIMIT
from cm_exec.local_runtime.core.faults import parse_fault
from cm_exec.processes.termination import Graces
from cm_exec.protocol.failure import OUTPUT_EXCERPT, STDERR_TAIL
from cm_exec.runtime.retry import RetryLimits, Verdict, result_verdict
from cm_exec.worker.worker import DrainTimes
from tests.support.documents import ROOT

DOCS: Final = ROOT / "docs"
LIMITS: Final = RetryLimits()


def page(name: str) -> str:
    """Return a page with its lines joined."""
    return " ".join((DOCS / f"{name}.md").read_text().split())


def first_cells(name: str) -> list[str]:
    """Return the code in the first cell of each table row of a page."""
    rows = re.findall(r"^\| (`[^|]+`) \|", (DOCS / f"{name}.md").read_text(), re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("fault", first_cells("local-runtime"))
def test_faults(fault: str) -> None:
    """Each fault in the documents is valid."""
    parse_fault(fault)


@pytest.mark.parametrize("name", [*BUILTIN_NAMES, "void"])
def test_all_types(name: str) -> None:
    """The documents explain every type."""
    assert name in {re.split(r"[<(]", cell)[0] for cell in first_cells("types")}


@pytest.mark.parametrize("text", [cell for cell in first_cells("types") if not re.search(r"[KTV.]|void", cell)])
def test_types(text: str) -> None:
    """Each type in the documents is valid."""
    parse_type(text)


@pytest.mark.parametrize("word", [*get_args(Mode), *get_args(Protocol), *get_args(Output)])
def test_options(word: str) -> None:
    """The documents name every mode, framing and kind of output."""
    assert f'"{word}"' in page("handlers") or f'"{word}"' in page("cm-toml")


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ([408, 421, 423, 425, 429, 500, 503], Verdict.RETRY),
        ([401, 403], Verdict.REAUTHENTICATE),
        ([404, 409, 410], Verdict.GONE),
        ([413, 400, 422], Verdict.REFUSED),
    ],
)
def test_statuses(statuses: list[int], verdict: Verdict) -> None:
    """The documents say what each status of the runtime means."""
    assert {result_verdict(status) for status in statuses} == {verdict}
    named = {str(status) for status in statuses if status not in {500, 503, 400, 422}}
    rows = [row for row in (DOCS / "how-it-works.md").read_text().splitlines() if row.startswith("| ")]
    assert any(named <= set(re.findall(r"\d{3}", row)) for row in rows)


@pytest.mark.parametrize(
    ("where", "claim"),
    [
        ("how-it-works", f"Pauses start at {LIMITS.first_delay:g} s, double up to {LIMITS.longest_delay:g} s"),
        ("how-it-works", f"Connecting may take {LIMITS.connect:g} s. A poll may take {LIMITS.poll:g} s in all"),
        ("how-it-works", f"a result {LIMITS.post:g} s and one more second per MiB"),
        ("how-it-works", f"hand it out again within {LIMITS.redelivery:g} s"),
        ("how-it-works", f"waits for the open one ({DrainTimes(jobs=0).poll:g} s at most)"),
        ("how-it-works", f"`drain_timeout` ({LauncherTable().drain_timeout:g} s by default"),
        ("handlers", f"for each job | {FunctionOptions().timeout:g} s |"),
        ("handlers", f"| {str(FunctionOptions().max_output).replace('MiB', ' MiB')} |"),
        ("handlers", f"`stderr` | its last {STDERR_TAIL // 1024} KiB |"),
        ("handlers", f"the first {OUTPUT_EXCERPT} bytes of output"),
        ("handlers", f"Results above {MEMORY_LIMIT // 1024**2} MiB are kept in a temporary file"),
        ("troubleshooting", f"every poll for {LIMITS.auth_failure:g} s"),
        ("troubleshooting", f"; waited {LIMITS.files:g} s for it"),
    ],
)
def test_numbers(where: str, claim: str) -> None:
    """A number in the documents is the number in the code."""
    assert claim in page(where)


def test_numbers_in_words() -> None:
    """A number in words in the documents is the number in the code."""
    graces = Graces()
    assert (graces.terminate, graces.quiet, graces.held_pipe, CANCEL_GRACE) == (1, 1, 10, 10)
    assert (LIMITS.files, LIMITS.auth_failure, LIMITS.rejected_result) == (60, 600, 300)
    assert "SIGTERM, a second of grace, SIGKILL" in page("handlers")
    assert "until the pipe has been silent for a second" in page("handlers")
    assert "is cut off after ten seconds" in page("handlers")
    assert "that has not answered after ten seconds is replaced" in page("services")
    assert "waits up to a minute for files that come late" in page("how-it-works")
    assert "after ten minutes of nothing else the worker ends" in page("how-it-works")
    assert "fails to accept for five minutes, while polls succeed" in page("how-it-works")
