"""The command line: one module a command, and the one place where errors become text and exit codes."""

import signal
from threading import current_thread, main_thread

_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler and current_thread() is main_thread()
if _interrupts:  # Ctrl-C during the imports ends the program without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from cm_exec.cli.program import main  # noqa: E402 - see above

if _interrupts:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]
