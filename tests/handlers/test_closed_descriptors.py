"""Started without some of the three usual descriptors, the program gives their numbers to nothing else."""

import subprocess
from pathlib import Path

import pytest

from tests.support import toml
from tests.support.worker import CM_EXEC


def invoked(folder: Path, redirection: str) -> subprocess.CompletedProcess[bytes]:
    (folder / "cm.toml").write_text(toml.function("f", "cat; echo noise >&2; sleep 0.1; echo more >&2"))
    command = f'exec "$0" invoke f "[1]" {redirection}'
    return subprocess.run(
        ["sh", "-c", command, CM_EXEC], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&-"])
def test_a_job_runs_all_the_same(tmp_path: Path, redirection: str) -> None:
    done = invoked(tmp_path, redirection)
    assert done.stdout == (b"" if ">&-" in redirection.split() else b"[1]")
    assert done.stderr == (b"" if "2>&-" in redirection else b"noise\nmore\n")
    assert done.returncode == 0
