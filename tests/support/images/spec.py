"""The containers of tests, described."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

PROGRAM: Final = "/opt/cm-exec/bin/cm-exec"

APP: Final = "/app"
"""Where a container finds its cm.toml."""

USER: Final = "12345:12345"
"""A number that no image has in its passwd."""

_READ_ONLY: Final = ("--read-only", "--read-only-tmpfs=false")
NO_TMP: Final = _READ_ONLY
"""No folder to write to at all."""
NOEXEC_TMP: Final = (*_READ_ONLY, "--tmpfs", "/tmp:rw,noexec,nosuid,nodev,mode=1777")

ISOLATION: Final = (
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
    "--passwd=false",  # podman would give the user an entry
    *("--network", "host"),  # the runtime is on this machine's loopback, as the platform's is on the replica's
    *("--pull", "never", "--rm", "--sig-proxy=false"),
    # podman's defaults are above what a sandbox without CAP_SYS_RESOURCE may set
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, and the mounts of its containers: the path on this machine, the path in the container, and options."""

    name: str
    mounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A container to be started. None for `config`, `entrypoint` or `user` means the image's own.

    `config` is the text of a cm.toml; `variables` None are today's variables of the platform, and `extra` are added.
    """

    image: Image
    arguments: Sequence[str] = ()
    config: str | None = None
    variables: Mapping[str, str] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    entrypoint: str | None = PROGRAM
    user: str | None = USER
    options: Sequence[str] = NOEXEC_TMP
    mounts: Sequence[str] = ()

    def podman(self, *options: str, platform: Mapping[str, str]) -> Iterator[str]:
        """Yield the command line of `podman run` with further `options` and the `platform`'s variables."""
        yield from ("podman", "run", *ISOLATION, *self.options, *options)
        yield from (() if self.entrypoint is None else ("--entrypoint", self.entrypoint))
        yield from (() if self.user is None else ("--user", self.user))
        yield from (() if self.config is None else ("--workdir", APP))
        for mount in (*self.image.mounts, *self.mounts):
            yield from ("--volume", mount)
        for name, value in {**(platform if self.variables is None else self.variables), **self.extra}.items():
            yield from ("--env", f"{name}={value}")
        yield from (self.image.name, *self.arguments)
