"""The errors that end the program."""

import importlib
import pkgutil
from itertools import chain

import cm_exec


def error_classes() -> set[type[Exception]]:
    """Return the error classes with an exit code."""
    names = [module.name for module in pkgutil.walk_packages(cm_exec.__path__, "cm_exec.")]
    members = [vars(importlib.import_module(name)).values() for name in names if not name.endswith("__main__")]
    classes = {value for value in chain(*members) if isinstance(value, type) and issubclass(value, Exception)}
    return {cls for cls in classes if hasattr(cls, "exit_code")}
