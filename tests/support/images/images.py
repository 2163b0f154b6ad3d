"""The images of the tests, each built when a test first wants it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.examples import prepare
from tests.support.images.examples import STAND_INS, build_image, build_java
from tests.support.images.roots import build_root
from tests.support.images.spec import Image
from tests.support.images.store import Store

REPOSITORY: Final = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """`bundle` is the tree that belongs at /opt/cm-exec; it is made when a root first wants it."""

    store: Store
    bundle: Callable[[], Path]

    def root(self, name: str) -> Image:
        """A root of `ROOTS` with cm-exec in it."""
        return Image(name=self._bare(name), mounts=(f"{self.bundle()}:/opt/cm-exec:ro",))

    def base(self) -> Image:
        """The image of Dockerfile.base, built on Debian 12 and ending in Debian 13."""
        self.store.once("base", self._build_base)
        return Image(name="localhost/cm-exec-base")

    def example(self, name: str) -> Image:
        """The image that the Dockerfile of examples/NAME makes of the base image."""
        image = f"localhost/example-{name}"
        self.base()
        start = self._bare(STAND_INS[name]) if name in STAND_INS else None
        self.store.once(image.rpartition("/")[2], lambda: self._build_example(name, image, start))
        return Image(name=image)

    def _bare(self, name: str) -> str:
        image = f"localhost/root-{name}"
        if name == "java":
            debian = self._bare("debian13")
            self.store.once("root-java", lambda: build_java(self.store, image, debian=debian))
        else:
            self.store.once(f"root-{name}", lambda: build_root(self.store, name, image))
        return image

    def _build_base(self) -> None:
        variables = {
            "CM_EXEC_ENGINE": "buildah",
            "PYTHON_IMAGE": self._bare("debian12"),
            "BASE_IMAGE": self._bare("debian13"),
        }
        self.store.run(REPOSITORY / "scripts" / "build-image", variables=variables)

    def _build_example(self, name: str, image: str, start: str | None) -> None:
        folder = prepare(name, self.store.folder / name).folder
        build_image(self.store, folder, image, start=start)
