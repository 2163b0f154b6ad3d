"""Programs and shared libraries: their loader, their search path and their symbols."""

from pathlib import Path

from bundle.commands import find_program, run


def loader_of(program: Path) -> Path:
    """Return the dynamic loader that a program names."""
    return Path(_patchelf("--print-interpreter", program))


def use_libraries(program: Path, loader: str, folder: str) -> None:
    """Make a program use this loader, and search this folder for libraries first.

    The folder is set as RPATH, which overrides LD_LIBRARY_PATH; the newer RUNPATH does not.
    """
    _patchelf("--set-interpreter", loader, program)
    _patchelf("--force-rpath", "--set-rpath", folder, program)


def strip(binary: Path) -> None:
    """Remove the symbols and debug information, which nothing reads at run time.

    They are three quarters of the libpython of some builds. Strip before patchelf changes a file, not after: strip
    can damage the layout that patchelf makes.
    """
    run([find_program("strip"), binary])


def remove_search_path(library: Path) -> None:
    """Remove the search path of a library. A RUNPATH of its own would hide the RPATH of the program."""
    if _patchelf("--print-rpath", library):
        _patchelf("--remove-rpath", library)


def _patchelf(*arguments: str | Path) -> str:
    return run([find_program("patchelf"), *arguments]).strip()
