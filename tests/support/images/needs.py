"""Requirements of the tests that run containers."""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.support.tools import ToolMissingError, find

_TOOLS: Final = ("buildah", "podman", "runc", "mmdebstrap", "busybox", "musl-gcc")


PATIENCE: Final = 600
"""Seconds for a test that may be the first to want an image, which is then built of Debian's packages."""


def needs_memory_limit() -> pytest.MarkDecorator:
    """Mark a test that limits the memory of a container, which the kernel must permit podman to do."""
    groups = Path("/sys/fs/cgroup")
    unified = groups / "cgroup.controllers"
    limited = (groups / "memory").is_dir() or (unified.exists() and "memory" in unified.read_text().split())
    reason = "no control group of this machine limits memory (cgroup_disable=memory is a kernel's option)"
    if not limited and os.environ.get("CI") == "true":
        raise ToolMissingError(reason)
    return pytest.mark.skipif(not limited, reason=reason)


def needs_containers(*tools: str) -> pytest.MarkDecorator:
    """Mark a test that runs containers and these programs; without them it is skipped, and fails in CI."""
    missing = [tool for tool in (*_TOOLS, *tools) if find(tool) is None]
    missing += [] if os.getuid() == 0 else ["the rights of root"]
    reason = f"no containers here, for lack of {', '.join(missing)} (scripts/install-debian-packages installs tools)"
    if missing and os.environ.get("CI") == "true":
        raise ToolMissingError(reason)
    return pytest.mark.skipif(bool(missing), reason=reason)
