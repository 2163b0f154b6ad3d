"""The examples with a Dockerfile, built without a registry."""

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


def build_image(store: Store, folder: Path, image: str, *, start: str | None = None) -> None:
    """Run the folder's Dockerfile. `start` takes the place of the image that its first FROM names."""
    options = ["--pull-never", "--layers=false", "--format", "docker", "--tag", image]
    options += [] if start is None else ["--from", start]
    store.run("buildah", "build", *options, folder)


def build_java(store: Store, image: str, *, debian: str) -> None:
    """Debian with this machine's Java, as far as it is needed to run a source file."""
    context = store.folder / "java-context"
    context.mkdir()
    modules = ["--add-modules", "java.base,jdk.compiler,jdk.zipfs"]
    smaller = ["--strip-debug", "--no-header-files", "--no-man-pages"]
    subprocess.run(["jlink", *modules, *smaller, "--output", context / "java"], check=True, capture_output=True)
    context.joinpath("Dockerfile").write_text(_JAVA.format(debian=debian))
    build_image(store, context, image)
