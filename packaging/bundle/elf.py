"""Programs and libraries: their loader, where they look for libraries, and what only a debugger reads in them."""

from pathlib import Path

from bundle.commands import find_program, run


def loader_of(program: Path) -> Path:
    """The dynamic loader that the program names."""
    return Path(_patchelf("--print-interpreter", program))


def use_libraries(program: Path, loader: str, folder: str) -> None:
    """Make the program use this loader, and look for libraries in this folder before anywhere else.

    As RPATH, which is stronger than LD_LIBRARY_PATH; the newer RUNPATH is not.
    """
    _patchelf("--set-interpreter", loader, program)
    _patchelf("--force-rpath", "--set-rpath", folder, program)


def strip(binary: Path) -> None:
    """Remove the symbols and the debug information that nothing reads at run time.

    The libpython of some builds is four times as large with them. patchelf must come after it: strip does not know
    the layout that patchelf makes.
    """
    run([find_program("strip"), binary])


def forget_search_path(library: Path) -> None:
    """Leave the search for what the library needs to the program: a RUNPATH of its own would hide the program's."""
    if _patchelf("--print-rpath", library):
        _patchelf("--remove-rpath", library)


def _patchelf(*arguments: str | Path) -> str:
    return run([find_program("patchelf"), *arguments]).strip()
