"""Which files are a worker's code, and being told when one is saved."""

import os
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from watchfiles import Change, watch

from cm_exec.config import Config, Function

_CODE: Final = frozenset({
    "awk", "bash", "c", "cc", "cjs", "clj", "cljs", "cpp", "cs", "dart", "ex", "exs", "f", "f90", "fs", "go",
    "groovy", "h", "hpp", "hs", "jar", "java", "jl", "jq", "js", "kt", "lua", "m", "mjs", "ml", "mts", "nim",
    "php", "pl", "pm", "ps1", "py", "pyx", "r", "rb", "rs", "scala", "sh", "so", "sql", "swift", "tcl",
    "toml", "ts", "tsx", "vb", "wasm", "zig", "zsh",
})  # fmt: skip
"""Endings of files that are code. A handler that writes its results beside itself must not restart its worker."""

_PASSED_OVER: Final = frozenset({
    "__pycache__", "build", "dist", "node_modules", "packrat", "renv", "site-packages", "target", "vendor",
    "venv",
})  # fmt: skip
"""Folders of what is installed or built; so are those whose name begins with a dot."""

_MOST_FOLDERS: Final = 2000
_DEBOUNCE: Final = 200
"""Milliseconds in which what one save, or one checkout, writes is taken together."""
_STEP: Final = 25


class Sources:
    """The files of one cm.toml and of its functions."""

    def __init__(self, config: Config, also: tuple[Path, ...] = ()) -> None:
        self.config_path = config.path.resolve()
        self._named = {self.config_path}
        self._whole: list[Path] = []
        self._roots = {config.path.parent.resolve()}
        for function in config.functions.values():
            self._roots.add(function.cwd.resolve())
            self._named |= _named_files(function)
        for path in also:
            (self._whole.append if path.is_dir() else self._named.add)(path.resolve())

    def folders(self) -> list[Path]:
        """The folders to watch, each without those below it."""
        found = {path.parent for path in self._named}
        for root in (*self._roots, *self._whole):
            for folder in _tree(root):
                found.add(folder)
                if len(found) >= _MOST_FOLDERS:
                    break
        return sorted(folder for folder in found if folder.is_dir())

    def concern(self, path: Path) -> bool:
        """Whether a change of this file is a reason to start the worker anew."""
        if path in self._named or any(path.is_relative_to(folder) for folder in self._whole):
            return True
        return path.suffix[1:].lower() in _CODE and not path.name.startswith(".")


def _named_files(function: Function) -> set[Path]:
    """The files that a command names, such as the script after an interpreter."""
    paths = (function.cwd / word for word in _words(function.command) if word and "\0" not in word)
    found = set()
    for path in paths:
        with suppress(OSError):
            if path.is_file():
                found.add(path.resolve())
    return found


def _words(command: str | tuple[str, ...]) -> Sequence[str]:
    if not isinstance(command, str):
        return command
    try:
        return shlex.split(command, comments=True)
    except ValueError:  # quotes that only the shell understands
        return command.split()


def _tree(root: Path) -> Iterator[Path]:
    """The folders below, nearest first, without those that hold no code of the author's."""
    level = [root]
    while level:
        yield from level
        level = [child for folder in level for child in _children(folder)]


def _children(folder: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and entry.name not in _PASSED_OVER and entry.name[0] != ".":
                yield Path(entry.path)


class Watcher(threading.Thread):
    """Tells `on_save` of saved files, a batch at a time, and `on_trouble` why it cannot."""

    def __init__(
        self, sources: Sources, *, on_save: Callable[[list[Path]], None], on_trouble: Callable[[str], None]
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._sources = sources
        self._on_save = on_save
        self._on_trouble = on_trouble
        self._look_again = threading.Event()
        self._stopped = False

    def set_sources(self, sources: Sources) -> None:
        """Watch others from now on."""
        self._sources = sources
        self._look_again.set()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped = True
        self._look_again.set()

    def run(self) -> None:
        """See threading.Thread."""
        while not self._stopped:
            self._look_again.clear()
            folders = self._sources.folders()
            try:
                self._watch(folders)
            except (OSError, RuntimeError) as error:  # watchfiles' own, such as too few inotify watches
                self._on_trouble(str(error))
                return

    def _watch(self, folders: list[Path]) -> None:
        """Until the folders are others."""
        changes = watch(
            *folders,
            watch_filter=None,
            debounce=_DEBOUNCE,
            step=_STEP,
            stop_event=self._look_again,
            rust_timeout=1000,
            recursive=False,
            raise_interrupt=False,
        )
        for batch in changes:
            saved = sorted({Path(name) for change, name in batch if self._matters(change, Path(name))})
            if saved:
                self._on_save(saved)
            if any(change is not Change.modified for change, _ in batch) and self._sources.folders() != folders:
                return

    def _matters(self, change: Change, path: Path) -> bool:
        """Editors delete and write anew: a file that is gone is no news until it is there again."""
        return change is not Change.deleted and self._sources.concern(path)
