"""Run the folders of examples/ in tests."""

import json
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cm_exec.config.load import load_config
from tests.support import tools

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"

TOOLS: Final[Mapping[str, Sequence[str]]] = {
    "c": ("cc",),
    "http-python": ("python3",),
    "http-sse-chat": ("python3",),
    "image-c": ("cc",),
    "image-java": ("java", "javac"),
    "image-jq": ("jq",),
    "image-perl": ("perl",),
    "imagemagick": ("convert", "jq", "base64"),
    "java": ("java", "javac"),
    "node": ("node",),
    "perl": ("perl",),
    "persistent-bash": ("bash",),
    "persistent-c": ("cc",),
    "persistent-java": ("java", "javac"),
    "persistent-node": ("node",),
    "persistent-perl": ("perl",),
    "persistent-python": ("python3",),
    "python": ("python3",),
    "service-asyncio-python": ("python3",),
    "service-batching-python": ("python3",),
    "service-books-python": ("python3",),
    "service-browser": ("node", "chromium"),
    "service-node": ("node",),
    "service-r": ("Rscript",),
    "shell-jq": ("jq",),
}
"""What each folder's handler runs."""

FOLDERS: Final = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())

_SHADE: Final = 8
"""How far a colour may be from the expected one: versions of ImageMagick differ a little when they resize."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A copy of one example that is ready to run."""

    folder: Path

    @property
    def function(self) -> str:
        """The first function of its cm.toml, whose query is query.json."""
        return next(iter(load_config(self.folder / "cm.toml").functions))

    @property
    def query(self) -> bytes:
        return (self.folder / "query.json").read_bytes()

    def assert_result(self, body: bytes) -> None:
        """Check that the body matches result.json: the same JSON, the same text, or the described picture."""
        expected = json.loads((self.folder / "result.json").read_bytes())
        if isinstance(expected, dict) and set(expected) == {"text"}:
            assert body.decode() == expected["text"]
        elif isinstance(expected, dict) and "pixels" in expected:
            _assert_picture(body, expected)
        else:
            assert json.loads(body) == expected


def prepare(name: str, folder: Path) -> Example:
    """Copy the example into a new folder, and compile its sources."""
    shutil.copytree(EXAMPLES / name, folder)
    if (folder / "build").exists():
        subprocess.run([folder / "build"], check=True, capture_output=True)
    if name.startswith("http-"):
        _change_port(folder / "cm.toml")
    return Example(folder=folder)


def environment(name: str, base: Mapping[str, str]) -> dict[str, str]:
    """Return `base` with the example's tools first on PATH."""
    return {**base, "PATH": tools.search_path(*TOOLS[name])}


def _change_port(file: Path) -> None:
    """Move the server to a free port, since several tests run concurrently."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        file.write_text(file.read_text().replace("8000", str(free.getsockname()[1])))


def _assert_picture(body: bytes, expected: Mapping[str, Any]) -> None:
    assert body.startswith(b"\x89PNG\r\n"), body[:200]
    width, height = int.from_bytes(body[16:20]), int.from_bytes(body[20:24])
    assert (width, height) == (expected["width"], expected["height"])
    pixels = _rgb(body)
    assert len(pixels) == 3 * width * height
    for place, colour in expected["pixels"].items():
        x, y = map(int, place.split(","))
        at = 3 * (y * width + x)
        wanted = bytes.fromhex(colour.removeprefix("#"))
        assert all(abs(a - b) <= _SHADE for a, b in zip(pixels[at : at + 3], wanted, strict=True)), place


def _rgb(png: bytes) -> bytes:
    """Decode the pixels, three bytes each, row by row."""
    convert = tools.find("convert")
    assert convert is not None
    command = [str(convert), "png:-", "-depth", "8", "rgb:-"]
    return subprocess.run(command, input=png, check=True, capture_output=True).stdout
