"""Compiled modules, for a user who may write nothing."""

from bundle.commands import run
from bundle.interpreter import Interpreter
from bundle.layout import HOME, Layout


def compile_modules(interpreter: Interpreter, layout: Layout) -> None:
    """Compile all, so that no start looks at a source file's time or content.

    The code tells where its sources will stand. Sets in it have the order of their hashes, hence the seed.
    """
    run(
        [
            *(interpreter.executable, "-s", "-S", "-m", "compileall", "-q"),
            *("--invalidation-mode", "unchecked-hash", "-s", layout.root, "-p", HOME),
            *(layout.standard_library, layout.site),
        ],
        {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
    )
