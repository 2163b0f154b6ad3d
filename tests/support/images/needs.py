"""What the tests that run containers need of this machine."""

import os
from typing import Final

import pytest

from tests.support.tools import ToolMissingError, find

_TOOLS: Final = ("buildah", "podman", "runc", "conmon", "mmdebstrap", "busybox", "musl-gcc")


PATIENCE: Final = 600
"""Seconds for a test that may be the first to want an image, which is then built of Debian's packages."""


def needs_containers(*tools: str) -> pytest.MarkDecorator:
    """The mark of a test that runs containers, and these programs. Skipped with the reason, in CI an error."""
    missing = [tool for tool in (*_TOOLS, *tools) if find(tool) is None]
    missing += [] if os.getuid() == 0 else ["the rights of root"]
    reason = f"no containers here, for lack of {', '.join(missing)} (scripts/install-debian-packages installs tools)"
    if missing and os.environ.get("CI") == "true":
        raise ToolMissingError(reason)
    return pytest.mark.skipif(bool(missing), reason=reason)
