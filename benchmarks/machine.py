"""The machine of a run."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cm_exec import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The properties that the numbers depend on."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    cm_exec: str

    @classmethod
    def here(cls) -> Self:
        """Describe this machine."""
        return cls(
            processor=_field(Path("/proc/cpuinfo"), "model name") or platform.machine(),
            cores=os.cpu_count() or 1,
            memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
            system=f"{platform.system()} {platform.release().split('-')[0]}",
            python=platform.python_version(),
            cm_exec=__version__,
        )

    def sentence(self) -> str:
        return (
            f"{self.cores} cores ({self.processor}), {self.memory_gib:.0f} GiB, {self.system}, "
            f"Python {self.python}, cm-exec {self.cm_exec}"
        )


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
