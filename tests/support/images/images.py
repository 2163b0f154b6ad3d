"""The images of the tests, each built for the first test that needs it."""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cm_exec import __version__
from tests.support.examples import prepare
from tests.support.images.examples import OPTIONS, STAND_INS, build_image, build_java, build_python
from tests.support.images.roots import import_root
from tests.support.images.spec import Image
from tests.support.images.store import Store

REPOSITORY: Final = Path(__file__).resolve().parents[3]


_ON_DEBIAN: Final = {"java": build_java, "python": build_python}
"""Images that are Debian 13 and something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """`bundle` returns the tree for /opt/cm-exec; it is called for the first root that needs it."""

    store: Store
    bundle: Callable[[], Path]

    def root(self, name: str) -> Image:
        """Return a root of `ROOTS` with cm-exec installed."""
        return Image(name=self._bare(name), mounts=(f"{self.bundle()}:/opt/cm-exec:ro",))

    def base(self) -> Image:
        """Return the image of Dockerfile.base on Debian 13."""
        self.store.once("base", self._build_base)
        return Image(name=f"localhost/cm-exec-base:{__version__}")

    def python(self) -> str:
        """Return the name of an image of Debian 13 with Python, and without cm-exec."""
        return self._bare("python")

    def example(self, name: str) -> Image:
        """Return the image that the Dockerfile of examples/NAME builds on the base image."""
        image = f"localhost/example-{name}"
        self.base()
        start = self._bare(STAND_INS[name]) if name in STAND_INS else None
        self.store.once(image.rpartition("/")[2], lambda: self._build_example(name, image, start))
        return Image(name=image)

    def _bare(self, name: str) -> str:
        image = f"localhost/root-{name}"
        self.store.once(f"root-{name}", lambda: self._build_root(name, image))
        return image

    def _build_root(self, name: str, image: str) -> None:
        if name in _ON_DEBIAN:
            _ON_DEBIAN[name](self.store, image, debian=self._bare("debian13"))
        else:
            import_root(self.store, name, image)

    def _build_base(self) -> None:
        build = (REPOSITORY / "scripts" / "build-image", *OPTIONS)
        images = {"PYTHON_IMAGE": self._bare("python"), "BASE_IMAGE": self._bare("debian13")}
        self.store.run(*build, variables={"CM_EXEC_ENGINE": "buildah", "PIP_CERT": _certificates(), **images})

    def _build_example(self, name: str, image: str, start: str | None) -> None:
        folder = prepare(name, self.store.folder / name).folder
        build_image(self.store, folder, image, start=start)


def _certificates() -> str:
    """Return the CA file that pip trusts on this machine."""
    return os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile or ""
