"""Watch the files that are a worker's code."""

import os
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from watchfiles import watch

from cm_exec.config import Config
from cm_exec.devserver.worker_process import WorkerSource

_CODE: Final = frozenset({
    "awk", "bash", "c", "cc", "cjs", "clj", "cljs", "cpp", "cs", "dart", "ex", "exs", "f", "f90", "fs", "go",
    "groovy", "h", "hpp", "hs", "jar", "java", "jl", "jq", "js", "kt", "lua", "m", "mjs", "ml", "mts", "nim",
    "php", "pl", "pm", "ps1", "py", "pyx", "r", "rb", "rs", "scala", "sh", "so", "sql", "swift", "tcl",
    "toml", "ts", "tsx", "vb", "wasm", "zig", "zsh",
})  # fmt: skip
"""Endings of files that are code: a result that a handler writes beside itself must not restart its worker."""

_IGNORED_FOLDERS: Final = frozenset({
    "__pycache__", "build", "dist", "node_modules", "packrat", "renv", "site-packages", "target", "vendor",
    "venv",
})  # fmt: skip
"""Folders of installed or built code; folders whose name begins with a dot are ignored, too."""

_MOST_FOLDERS: Final = 2000
_DEBOUNCE: Final = 200
"""Milliseconds: all files that one save, or one checkout, writes make one event."""
_STEP: Final = 25


_FIRST_LOOK: Final = 200
"""Milliseconds from the start of a watch to the look for files that were saved before it."""

FileStamp = tuple[int, int, int]
FileStamps = dict[Path, FileStamp]


class Sources:
    """The files of one cm.toml and of its functions, or those of a command in the current folder."""

    def __init__(self, source: WorkerSource, also: tuple[Path, ...] = ()) -> None:
        self._named: set[Path] = set()
        self._whole: list[Path] = []
        self._roots: set[Path] = set()
        if isinstance(source, Config):
            self._named.add(source.path.resolve())
            self._roots.add(source.path.parent.resolve())
            for function in source.functions.values():
                self._add_command(function.command or (), function.cwd)
        else:
            self._add_command(tuple(source), Path.cwd())
        for path in also:
            (self._whole.append if path.is_dir() else self._named.add)(path.resolve())

    def _add_command(self, command: str | tuple[str, ...], cwd: Path) -> None:
        """Add the files that a command names, such as the script after an interpreter, and its folder."""
        self._roots.add(cwd.resolve())
        for word in _words(command):
            with suppress(OSError, ValueError):
                if word and (path := cwd / word).is_file():
                    self._named.add(path.resolve())

    def folders(self) -> list[Path]:
        """Return the folders to watch, each without those below it."""
        found = {path.parent for path in self._named}
        for root in (*self._roots, *self._whole):
            for folder in _tree(root):
                found.add(folder)
                if len(found) >= _MOST_FOLDERS:
                    break
        return sorted(folder for folder in found if os.path.isdir(folder) and _is_utf8(folder))

    def marks(self, folders: list[Path]) -> FileStamps:
        """Return a stamp that changes with each version, for each file whose change restarts the worker."""
        return {path: mark for folder in folders for path, mark in self._marks_in(folder)}

    def _marks_in(self, folder: Path) -> Iterator[tuple[Path, FileStamp]]:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                with suppress(OSError):
                    if self.is_relevant(path) and entry.is_file():
                        status = path.stat()
                        yield path, (status.st_mtime_ns, status.st_ino, status.st_size)

    def is_relevant(self, path: Path) -> bool:
        """Return whether a change of this file restarts the worker."""
        if path in self._named or any(path.is_relative_to(folder) for folder in self._whole):
            return True
        return path.suffix[1:].lower() in _CODE and not path.name.startswith(".")


def _words(command: str | tuple[str, ...]) -> Sequence[str]:
    if not isinstance(command, str):
        return command
    try:
        return shlex.split(command, comments=True)
    except ValueError:  # quotes that only the shell understands
        return command.split()


def _tree(root: Path) -> Iterator[Path]:
    """Yield the folders below, nearest first, without those of installed or built code."""
    level = [root]
    while level:
        yield from level
        level = [child for folder in level for child in _children(folder)]


def _is_utf8(folder: Path) -> bool:
    """Return whether watchfiles can watch the folder."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        return False
    return True


def _children(folder: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and entry.name not in _IGNORED_FOLDERS and entry.name[0] != ".":
                yield Path(entry.path)


class Watcher(threading.Thread):
    """Calls `on_save` with saved files, several at once, and `on_trouble` when it cannot watch.

    An event of the system is only a reason to look: a file counts as saved when its stamp has changed since the last
    look. So nothing is lost between two watches, and nothing is reported twice.
    """

    def __init__(
        self, sources: Sources, *, on_save: Callable[[list[Path]], None], on_trouble: Callable[[str], None]
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._sources = sources
        self._on_save = on_save
        self._on_trouble = on_trouble
        self._look_again = threading.Event()
        self._stopped = False
        self._seen: FileStamps = {}

    def set_sources(self, sources: Sources) -> None:
        """Watch other files from now on."""
        self._sources = sources
        self._look_again.set()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped = True
        self._look_again.set()

    def run(self) -> None:
        """Implement threading.Thread."""
        self._seen = self._sources.marks(self._sources.folders())
        while not self._stopped:
            self._look_again.clear()
            try:
                self._watch(self._sources.folders())
            except (OSError, RuntimeError) as error:  # watchfiles' own, such as too few inotify watches
                self._on_trouble(str(error))
                return

    def _watch(self, folders: list[Path]) -> None:
        """Watch until the set of folders changes."""
        changes = watch(
            *folders,
            watch_filter=None,
            debounce=_DEBOUNCE,
            step=_STEP,
            stop_event=self._look_again,
            rust_timeout=_FIRST_LOOK,
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
        )
        is_first = True
        for batch in changes:
            if is_first or any(self._sources.is_relevant(Path(name)) or os.path.isdir(name) for _, name in batch):
                is_first = False
                self._look(folders)
                if self._sources.folders() != folders:
                    return

    def _look(self, folders: list[Path]) -> None:
        marks = self._sources.marks(folders)
        saved = [path for path, mark in marks.items() if self._seen.get(path) != mark]
        self._seen = marks
        if saved:
            self._on_save(sorted(saved))
