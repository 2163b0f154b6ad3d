"""Compiled modules, for a user who may write nothing."""

from bundle.commands import run
from bundle.interpreter import Interpreter
from bundle.layout import HOME, Layout


def compile_modules(interpreter: Interpreter, layout: Layout) -> None:
    """Put bytecode in the place of every module's source, which is a fifth of the bundle.

    A traceback names functions, files and lines, and shows no text of them. Sources in a folder that is no package
    are data, such as the templates of `cm-exec init`, and stay. Sets in bytecode have the order of their hashes, hence
    the seed.
    """
    run(
        [
            *(interpreter.executable, "-s", "-S", "-m", "compileall", "-q", "-b"),
            *("--invalidation-mode", "unchecked-hash", "-s", layout.root, "-p", HOME),
            *(layout.standard_library, layout.site),
        ],
        {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    for bytecode in sorted(layout.root.rglob("*.pyc")):
        folder = bytecode.parent
        is_module = folder == layout.standard_library or (folder / "__init__.pyc").exists()
        unused = bytecode.with_suffix(".py") if is_module else bytecode
        unused.unlink()
