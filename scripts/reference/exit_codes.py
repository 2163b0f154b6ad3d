"""The exit codes of `cm-exec`, in words. A test holds them against the error classes, which carry the codes."""

from collections.abc import Mapping
from typing import Final

EXIT_CODES: Final[Mapping[int | str, str]] = {
    0: "Done; for the worker: drained after a signal.",
    1: "A bug in cm-exec; please report it. For bench: a function failed. For test: a test failed.",
    2: "Wrong usage of the command line. For test: there is no test.",
    3: "A cm.toml that is missing or wrong, or names what is not there. For check --image-rules: a rule is broken.",
    4: "The environment names no runtime, or not usably. For invoke --dev: no cm-exec dev runs.",
    5: "The runtime turned the worker away for good: 401 or 403 for ten minutes, the token read anew each time.",
    "128+n": "Ended at once by a second signal n; for the commands other than run, by the first.",
}
