"""The exit codes of `cm-exec`, in words. A test compares them with the error classes."""

from collections.abc import Mapping
from typing import Final

EXIT_CODES: Final[Mapping[int | str, str]] = {
    0: "Success; for the worker: drained after a signal.",
    1: "A bug in cm-exec (please report it), or lost output. For bench: a function failed. For test: a test failed.",
    2: "Invalid command line. For test: there is no test.",
    3: "cm.toml is missing or invalid, or names what does not exist. For check --image-rules: a rule is broken.",
    4: "The runtime settings in the environment are missing or invalid. For invoke --dev: no cm-exec dev is running.",
    5: "The runtime rejected the worker permanently: 401 or 403 for ten minutes, with the token read again each time.",
    "128+n": "Ended by signal n: for run by a second signal, for the other commands by the first.",
}
