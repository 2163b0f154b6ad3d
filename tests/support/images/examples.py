"""Build the examples that have a Dockerfile, without a registry."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.examples import EXAMPLES, FOLDERS
from tests.support.images.store import Store

IMAGE_EXAMPLES: Final = [name for name in FOLDERS if (EXAMPLES / name / "Dockerfile").exists()]

STAND_INS: Final[Mapping[str, str]] = {"image-perl": "debian13", "image-java": "java"}
"""The root that is used where a Dockerfile starts from an image of a registry."""

BUILD_TOOLS: Final[Mapping[str, tuple[str, ...]]] = {"image-c": ("cc",), "image-java": ("java", "jlink")}
"""What building an image runs on this machine."""

_JAVA: Final = """\
FROM {debian}
COPY java /opt/java
ENV PATH=/opt/java/bin:/usr/bin:/bin
"""


_PYTHON: Final = """\
FROM {debian}
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv binutils
"""

OPTIONS: Final = ("--pull=never", "--layers=false", "--format", "docker")


def build_image(store: Store, folder: Path, image: str, *, start: str | None = None) -> None:
    """Build the folder's Dockerfile. `start` replaces the image of its first FROM."""
    options = [] if start is None else ["--from", start]
    store.run("buildah", "build", *OPTIONS, "--tag", image, *options, folder)


def build_java(store: Store, image: str, *, debian: str) -> None:
    """Create Debian with the parts of this machine's Java that run a source file."""
    folder = _context(store, "java", _JAVA.format(debian=debian))
    modules = ["--add-modules", "java.base,jdk.compiler,jdk.zipfs"]
    smaller = ["--strip-debug", "--no-header-files", "--no-man-pages"]
    subprocess.run(["jlink", *modules, *smaller, "--output", folder / "java"], check=True, capture_output=True)
    build_image(store, folder, image)


def build_python(store: Store, image: str, *, debian: str) -> None:
    """Create Debian with the bundle's Python, and with the packages of Dockerfile.base."""
    build_image(store, _context(store, "python", _PYTHON.format(debian=debian)), image)


def _context(store: Store, name: str, dockerfile: str) -> Path:
    folder = store.folder / f"build-{name}"
    folder.mkdir()
    folder.joinpath("Dockerfile").write_text(dockerfile)
    return folder
