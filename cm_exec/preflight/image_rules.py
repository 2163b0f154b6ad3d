"""Foundry's rules for the image of a compute module, as far as they can be checked from inside.

Each rule is a row of RULES: what it asks, where that is written, and a function from the facts to a finding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from cm_exec.cli.words import count_text
from cm_exec.preflight.image_facts import Facts

Verdict = Literal["ok", "warning", "broken"]

_DOCS: Final = "https://www.palantir.com/docs/foundry/compute-modules"
_REQUIREMENTS: Final = (
    f"Foundry, Containers, Image requirements: {_DOCS}/containers#image-requirements-for-compute-modules"
)
_STDOUT: Final = f"Foundry, Containers, Standard output: {_DOCS}/containers#standard-output"
_FORMATS: Final = f"Foundry, Containers, Log formats: {_DOCS}/containers#log-formats"
_VARIABLES: Final = (
    f"Foundry, Containers, Reserved environment variables: {_DOCS}/containers#reserved-environment-variables-reference"
)
_PROBES: Final = f"Foundry, Probes, Exec probe: {_DOCS}/probes#exec-probe"
_VOLUMES: Final = f"Foundry, Volumes: {_DOCS}/volumes"
_OWN: Final = "cm-exec: docs/deploying.md"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found, in a few words; where it is not ok, each problem and what to do."""

    verdict: Verdict
    found: str
    problems: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """`demand` is what must be, as a sentence; `source` where that is written."""

    name: str
    demand: str
    source: str
    judge: Callable[[Facts], Finding]


def _user(facts: Facts) -> Finding:
    found = f"uid {facts.uid}, gid {facts.gid}"
    if facts.uid != 0:
        return Finding("ok", found)
    return Finding("broken", f"{found}: root", remedy="write `USER 5000` into the Dockerfile, a number and not a name")


def _platform(facts: Facts) -> Finding:
    found = f"{facts.system} on {facts.machine}"
    if (facts.system, facts.machine) == ("Linux", "x86_64"):
        return Finding("ok", found)
    return Finding("broken", found, remedy="build the image with `--platform linux/amd64`")


def _shell(facts: Facts) -> Finding:
    if not facts.shell:
        return Finding("ok", "/bin/sh, with set")
    remedy = (
        "put a shell at /bin/sh (a static busybox will do), or switch the container's logging off and say "
        "`--ignore shell`"
    )
    return Finding("broken", f"/bin/sh {facts.shell}", remedy=remedy)


def _tee(facts: Facts) -> Finding:
    if not facts.tee:
        return Finding("ok", "tee")
    remedy = "install coreutils or busybox on PATH, or switch the container's logging off and say `--ignore tee`"
    return Finding("broken", f"tee {facts.tee}", remedy=remedy)


def _echo(facts: Facts) -> Finding:
    if facts.echo:
        return Finding("ok", facts.echo)
    remedy = (
        "install coreutils or busybox on PATH: a shell's own echo is not enough; or set another readiness probe and "
        "say `--ignore echo`"
    )
    return Finding("broken", "no program echo in PATH", remedy=remedy)


def _log(facts: Facts) -> Finding:
    setting = "SLS" if facts.log_format == "sls" else "plaintext"
    return Finding("ok", f"cm-exec run logs to stdout as {facts.log_format}: choose the format {setting} in Foundry")


def _config(facts: Facts) -> Finding:
    if not facts.mistakes:
        return Finding("ok", f"{facts.config}: {count_text(len(facts.functions), 'function')}")
    if facts.config_is_readable:
        found = f"{facts.config}: {count_text(len(facts.mistakes), 'mistake')}"
        return Finding("broken", found, facts.mistakes, "mend it: `cm-exec check` tells the same on any machine")
    remedy = (
        "copy the file into the image, readable for its user; or mount a content directory with it; and name it with "
        "CM_EXEC_CONFIG where it is not in the working folder"
    )
    return Finding("broken", f"{facts.config} cannot be read", facts.mistakes, remedy)


def _handlers(facts: Facts) -> Finding:
    if facts.mistakes:
        return Finding("warning", "not looked for", remedy="mend cm.toml first")
    problems = tuple(f"functions.{c.function.name}: {c.problem}" for c in facts.functions if c.problem)
    if not problems:
        return Finding("ok", f"{count_text(len(facts.functions), 'program')} can be started by this user")
    remedy = "install what is missing for linux/amd64 and the image's own libc, executable for the image's user"
    return Finding("broken", f"{len(problems)} of {len(facts.functions)} cannot be started", problems, remedy)


def _temporary(facts: Facts) -> Finding:
    root = "; the root is read-only" if facts.root_is_read_only else ""
    if facts.temporary:
        return Finding("ok", f"{facts.temporary} is writable{root}")
    remedy = "mount an empty directory volume at /tmp, or name one with TMPDIR, or let memory hold the largest results"
    return Finding("warning", f"no folder for temporary files is writable{root}", remedy=remedy)


def _home(facts: Facts) -> Finding:
    if facts.home:
        return Finding("ok", f"HOME={facts.home} is writable")
    remedy = "write `ENV HOME=/tmp`: R, Julia, matplotlib and others keep a cache there and may fail without"
    return Finding("warning", "HOME is not set, or not writable", remedy=remedy)


def _files(facts: Facts) -> Finding:
    if facts.unreadable:
        problems = tuple(f"{name}: {path} is not readable for uid {facts.uid}" for name, path in facts.unreadable)
        return Finding("broken", f"{count_text(len(problems), 'file')} not readable", problems, "run as another user")
    if facts.absent:
        problems = tuple(f"{name}: {path} is not there" for name, path in facts.absent)
        remedy = "nothing, where they come late: cm-exec waits a minute for them"
        return Finding("warning", f"{count_text(len(problems), 'file')} not there", problems, remedy)
    return Finding("ok", "all readable" if facts.has_runtime else "no runtime here, so none to read")


def _variables(facts: Facts) -> Finding:
    if not facts.reserved:
        return Finding("ok", "the platform's" if facts.has_runtime else "none of the platform's is set")
    remedy = "take them out of the image's ENV: the platform sets its own"
    return Finding("warning", f"set, with no runtime here: {', '.join(facts.reserved)}", remedy=remedy)


RULES: Final = (
    Rule("user", "The image runs as a user that is a number and not root.", _REQUIREMENTS, _user),
    Rule("platform", "The image is built for linux/amd64.", _REQUIREMENTS, _platform),
    Rule("shell", "To collect stdout, the platform needs a shell at /bin/sh that knows `set`.", _STDOUT, _shell),
    Rule("tee", "To collect stdout, the platform needs `tee`.", _STDOUT, _tee),
    Rule("echo", "The readiness probe, unless another is set, executes `echo`.", _PROBES, _echo),
    Rule("log", "The log is on stdout, in the format that the container's settings name.", _FORMATS, _log),
    Rule("config", "cm.toml is there, right, and readable.", _OWN, _config),
    Rule("handlers", "The program of each function is there and can be started.", _OWN, _handlers),
    Rule("temporary", "Results above 1 MiB wait in a temporary folder, else in memory.", _VOLUMES, _temporary),
    Rule("home", "A user without a name has no home, and programs look for one.", _OWN, _home),
    Rule("files", "The files that the platform mounts are readable.", _VARIABLES, _files),
    Rule("variables", "The platform's variables are its own to set.", _VARIABLES, _variables),
)

UNSEEN: Final = (
    "USER is a number: docker image inspect --format '{{.Config.User}}' IMAGE",
    "the tag is not `latest`, or the image is named by its digest",
    "ports that the image exposes are from 1024 to 65535, and not 8945 or 8946",
    "the image is not above 5 GB, or a replica starts slowly",
)
"""What cannot be seen from inside (containers page; the last, debugging page)."""
