"""The order to end all jobs now, in a form that a selector can wait for."""

import os


class StopNow:
    """Set once, seen by every job's loop: its descriptor becomes readable and stays so."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.is_set = False

    def set(self) -> None:
        """End all jobs; safe to call from any thread, and again."""
        if not self.is_set:
            self.is_set = True
            os.write(self._write, b"!")

    def fileno(self) -> int:
        """The descriptor to select for reading."""
        return self._read

    def close(self) -> None:
        """Give the descriptors back, after the last job."""
        os.close(self._read)
        os.close(self._write)
