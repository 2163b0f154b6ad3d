"""A root directory with nothing but the bundle."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.support.bundle import Bundle

CHROOT: Final = shutil.which("chroot") or "/usr/sbin/chroot"


@pytest.fixture
def empty_root(bundle: Bundle, unshare: tuple[str, ...], tmp_path: Path) -> list[str]:
    """Return the start of a command that runs in a root of devices and the bundle, if possible as an unnamed user."""
    root = tmp_path / "root"
    bundle.copy_to(root)
    for folder in ("dev", "etc"):
        root.joinpath(folder).mkdir()
    root.joinpath("etc", "hosts").write_text("127.0.0.7 somewhere\n")
    user = "--userspec=12345:12345" if os.getuid() == 0 else "--userspec=0:0"
    return [*unshare, "--mount", "sh", "-c", f'mount --rbind /dev $0/dev && exec {CHROOT} {user} $0 "$@"', str(root)]
