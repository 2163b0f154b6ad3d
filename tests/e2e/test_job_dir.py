"""The options job_dir and error_output, and text results, through the installed cm-exec and a real runtime."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import error_of
from tests.support.processes import wait_until
from tests.support.toml import function
from tests.support.worker_harness import WorkerHarness

SHOW = 'printf "%s %s" "$CM_JOB_DIR" "$(stat -c %a "$CM_JOB_DIR")"; ls -A "$CM_JOB_DIR" >&2; touch "$CM_JOB_DIR/made"'


def failed(harness: WorkerHarness, name: str = "f") -> dict[str, Any]:
    return error_of(harness.runtime.result(harness.runtime.submit(name)), function=name)


@pytest.mark.parametrize("mode", ["spawn", "prespawn"])
def test_job_dir(harness: WorkerHarness, mode: str) -> None:
    """Each job has its own empty folder, which is removed afterwards."""
    harness.start(function("f", f"{SHOW}; mkdir -m 0 $CM_JOB_DIR/deep", mode=mode, job_dir=True), "--concurrency", "2")
    folders = set()
    for _ in range(3):
        folder, rights = harness.runtime.call("f").decode().split()
        assert rights == "700"
        folders.add(Path(folder))
    assert len(folders) == 3
    wait_until(lambda: not any(folder.exists() for folder in folders), what="the end of the folders")


@pytest.mark.parametrize(
    ("end", "reason"), [("exit 3", "exit"), ("kill -9 $$", "signal"), ("sleep 300", "timeout"), ("yes", "output_limit")]
)
def test_removal_of_the_folder(harness: WorkerHarness, end: str, reason: str) -> None:
    """The folder is removed, however the job ends."""
    note = harness.folder / "note"
    command = f'echo "$CM_JOB_DIR" >{note}; cp -r /proc/self/status "$CM_JOB_DIR/copy"; {end}'
    harness.start(function("f", command, job_dir=True, timeout=2, max_output=100_000))
    assert failed(harness)["reason"] == reason
    folder = Path(note.read_text().strip())
    wait_until(lambda: not folder.exists(), what="the end of the folder")


def test_error_output(harness: WorkerHarness) -> None:
    """The caller gets the output of a failed command."""
    config = function("json", """echo '{"code": 7}'; exit 1""", error_output=True)
    config += function("text", "echo 'not \"JSON\"'; exit 1", error_output=True)
    config += function("large", "head -c 100000 /dev/zero | tr '\\0' x; exit 1", error_output=True)
    config += function("without", """echo '{"code": 7}'; exit 1""")
    harness.start(config)
    assert failed(harness, "json")["output"] == {"code": 7}
    assert failed(harness, "text")["output"].strip() == 'not "JSON"'
    assert failed(harness, "large")["output"] == "x" * 65_536
    assert failed(harness, "without")["exitCode"] == 1
    assert isinstance(failed(harness, "without").get("output", ""), str)


@pytest.mark.parametrize(("text", "result"), [("a\\n", '"a"'), ("a\\n\\n", '"a\\n"'), ("a", '"a"'), ("a\\r\\n", None)])
def test_a_text_loses_one_final_newline(harness: WorkerHarness, text: str, result: str | None) -> None:
    harness.start(function("f", f"printf '{text}'", output="text"))
    assert harness.runtime.call("f").decode() in ({result} if result else {'"a"', '"a\\r"'})
