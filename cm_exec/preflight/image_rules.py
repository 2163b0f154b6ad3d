"""`cm-exec check --image-rules`: Foundry's rules for images, as far as they can be checked from inside an image.

Each rule is a row of RULES: its requirement, the source of that, and a function from the facts to a finding.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Final, Literal

import click

from cm_exec.config.load import load_config
from cm_exec.errors import ConfigError, PreflightError
from cm_exec.handlers.spool import spool_directory
from cm_exec.preflight import CommandCheck, check_function
from cm_exec.protocol import environment as names
from cm_exec.text import count_text, did_you_mean, table_lines

FILE_VARIABLES: Final = (
    names.MODULE_AUTH_TOKEN,
    names.DEFAULT_CA_PATH,
    names.PEER_CA_PATH,
    names.CONNECTION_TO_RUNTIME,
    "SOURCE_CREDENTIALS",
    "SOURCE_CONFIGURATIONS_PATH",
    "BUILD2_TOKEN",
    "RESOURCE_ALIAS_MAP",
)
"""The platform's variables that name a file (containers page, and those that the official SDKs read)."""

RESERVED: Final = names.CONNECTION_VARIABLES | {
    names.MAX_CONCURRENT_TASKS,
    names.COMPUTE_SESSION_ID,
    "CLIENT_ID",
    "CLIENT_SECRET",
    "SOURCE_CREDENTIALS",
    "SOURCE_CONFIGURATIONS_PATH",
    "BUILD2_TOKEN",
    "FOUNDRY_COMPUTE_MODULE_RID",
    "FOUNDRY_ONTOLOGY_RID",
}
"""The variables that only the platform sets (containers page)."""

_TRIAL_SECONDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image, as a process in it sees it.

    `shell` and `tee` describe how a trial run failed, empty if it worked; `echo` is the program's path, empty if
    there is none. `errors` are those of cm.toml, one per line; `functions` is empty if there are any. `temporary` is
    the folder for temporary files and `home` the value of HOME, each None if it is not writable or not set.
    `unreadable` and `absent` are variables of the platform, each with the path that it names; `reserved` are the
    platform's variables that are set although there is no runtime.
    """

    uid: int
    gid: int
    system: str
    machine: str
    shell: str
    tee: str
    echo: str
    config: Path
    config_is_readable: bool
    errors: tuple[str, ...]
    functions: tuple[CommandCheck, ...]
    log_format: str
    temporary: str | None
    root_is_read_only: bool
    home: str | None
    has_runtime: bool
    unreadable: tuple[tuple[str, str], ...]
    absent: tuple[tuple[str, str], ...]
    reserved: tuple[str, ...]


def inspect_image(config: Path, environ: Mapping[str, str]) -> ImageFacts:
    """Collect all facts. Runs /bin/sh and tee, and no handler."""
    functions, errors, log_format = _read(config)
    uname = os.uname()
    has_runtime = bool(environ.get(names.GET_JOB_URI) or environ.get(names.CONNECTION_TO_RUNTIME))
    # a variable can also hold the token itself
    files = [(name, path) for name in FILE_VARIABLES if (path := environ.get(name, "")).startswith("/")]
    home = environ.get("HOME", "")
    return ImageFacts(
        uid=os.geteuid(),
        gid=os.getegid(),
        system=uname.sysname,
        machine=uname.machine,
        shell=_try(["/bin/sh", "-c", "set -e && exit 0"]),
        tee=_try(["tee"]),
        echo=which("echo") or "",
        config=config,
        config_is_readable=_is_readable(str(config)),
        errors=errors,
        functions=functions,
        log_format=environ.get("CM_EXEC_LOG_FORMAT") or log_format,
        temporary=spool_directory(),
        root_is_read_only=bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        home=home if home and os.access(home, os.W_OK) else None,
        has_runtime=has_runtime,
        unreadable=tuple((name, path) for name, path in files if os.path.lexists(path) and not _is_readable(path)),
        absent=tuple((name, path) for name, path in files if not os.path.lexists(path)),
        reserved=() if has_runtime else tuple(sorted(name for name in RESERVED if name in environ)),
    )


def _read(config: Path) -> tuple[tuple[CommandCheck, ...], tuple[str, ...], str]:
    """Return the functions, the errors of cm.toml, and the log format."""
    try:
        read = load_config(config)
    except ConfigError as error:
        return (), tuple(str(error).splitlines()), "text"
    return tuple(check_function(function) for function in read.functions.values()), (), read.launcher.log_format


def _try(command: list[str]) -> str:
    """Describe how a program fails that should copy stdin or do nothing; empty if it works."""
    try:
        done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=_TRIAL_SECONDS)
    except FileNotFoundError:
        return "is not in the image"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    return "" if done.returncode == 0 else f"failed with exit status {done.returncode}"


def _is_readable(path: str) -> bool:
    return os.access(path, os.R_OK)


RuleVerdict = Literal["ok", "warning", "broken"]

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
    """The finding of a rule in a few words; if it is not ok, each problem and the remedy."""

    verdict: RuleVerdict
    found: str
    problems: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """`requirement` is a sentence; `source` is the page that it is from."""

    name: str
    requirement: str
    source: str
    check: Callable[[ImageFacts], Finding]


def _user(facts: ImageFacts) -> Finding:
    found = f"uid {facts.uid}, gid {facts.gid}"
    if facts.uid != 0:
        return Finding("ok", found)
    return Finding("broken", f"{found}: root", remedy="write `USER 5000` in the Dockerfile, a number and not a name")


def _platform(facts: ImageFacts) -> Finding:
    found = f"{facts.system} on {facts.machine}"
    if (facts.system, facts.machine) == ("Linux", "x86_64"):
        return Finding("ok", found)
    return Finding("broken", found, remedy="build the image with `--platform linux/amd64`")


def _shell(facts: ImageFacts) -> Finding:
    if not facts.shell:
        return Finding("ok", "/bin/sh, with set")
    remedy = (
        "put a shell at /bin/sh (a static busybox will do), or switch the container's logging off and use "
        "`--ignore shell`"
    )
    return Finding("broken", f"/bin/sh {facts.shell}", remedy=remedy)


def _tee(facts: ImageFacts) -> Finding:
    if not facts.tee:
        return Finding("ok", "tee")
    remedy = "install coreutils or busybox on PATH, or switch the container's logging off and use `--ignore tee`"
    return Finding("broken", f"tee {facts.tee}", remedy=remedy)


def _echo(facts: ImageFacts) -> Finding:
    if facts.echo:
        return Finding("ok", facts.echo)
    remedy = (
        "install coreutils or busybox on PATH: a shell's builtin echo is not enough; or set another readiness probe "
        "and use `--ignore echo`"
    )
    return Finding("broken", "no program echo on PATH", remedy=remedy)


def _log(facts: ImageFacts) -> Finding:
    setting = "SLS" if facts.log_format == "sls" else "plaintext"
    return Finding("ok", f"cm-exec run logs to stdout as {facts.log_format}: choose the format {setting} in Foundry")


def _config(facts: ImageFacts) -> Finding:
    if not facts.errors:
        return Finding("ok", f"{facts.config}: {count_text(len(facts.functions), 'function')}")
    if facts.config_is_readable:
        found = f"{facts.config}: {count_text(len(facts.errors), 'error')}"
        return Finding("broken", found, facts.errors, "fix them: `cm-exec check` reports the same on any machine")
    remedy = (
        "copy the file into the image, readable for its user, or mount a content directory with it; if it is not in "
        "the working folder, set CM_EXEC_CONFIG to its path"
    )
    return Finding("broken", f"{facts.config} cannot be read", facts.errors, remedy)


def _handlers(facts: ImageFacts) -> Finding:
    if facts.errors:
        return Finding("warning", "not checked", remedy="fix cm.toml first")
    problems = tuple(dict.fromkeys(f"{c.at}: {c.problem}" for c in facts.functions if c.problem))
    if not problems:
        return Finding("ok", f"{count_text(len(facts.functions), 'program')} can be started by this user")
    remedy = "install the missing programs for linux/amd64 and the image's libc, executable for the image's user"
    return Finding("broken", f"{len(problems)} of {len(facts.functions)} cannot be started", problems, remedy)


def _temporary(facts: ImageFacts) -> Finding:
    root = "; the root is read-only" if facts.root_is_read_only else ""
    if facts.temporary:
        return Finding("ok", f"{facts.temporary} is writable{root}")
    remedy = "mount an empty directory volume at /tmp, or set TMPDIR, or provide memory for the largest results"
    return Finding("warning", f"no folder for temporary files is writable{root}", remedy=remedy)


def _home(facts: ImageFacts) -> Finding:
    if facts.home:
        return Finding("ok", f"HOME={facts.home} is writable")
    remedy = "write `ENV HOME=/tmp`: R, Julia, matplotlib and others keep a cache there and may fail without one"
    return Finding("warning", "HOME is not set, or not writable", remedy=remedy)


def _files(facts: ImageFacts) -> Finding:
    if facts.unreadable:
        problems = tuple(f"{name}: {path} is not readable for uid {facts.uid}" for name, path in facts.unreadable)
        return Finding("broken", f"{count_text(len(problems), 'file')} not readable", problems, "run as another user")
    if facts.absent:
        problems = tuple(f"{name}: {path} does not exist" for name, path in facts.absent)
        remedy = "none is needed if they come late: cm-exec waits a minute for them"
        return Finding("warning", f"{count_text(len(problems), 'file')} missing", problems, remedy)
    return Finding("ok", "all readable" if facts.has_runtime else "there is no runtime here, and so no file to read")


def _variables(facts: ImageFacts) -> Finding:
    if not facts.reserved:
        return Finding("ok", "the platform's" if facts.has_runtime else "none of the platform's is set")
    remedy = "remove them from the image's ENV: the platform sets its own"
    return Finding("warning", f"set although there is no runtime here: {', '.join(facts.reserved)}", remedy=remedy)


RULES: Final = (
    Rule("user", "The image runs as a user that is a number and not root.", _REQUIREMENTS, _user),
    Rule("platform", "The image is built for linux/amd64.", _REQUIREMENTS, _platform),
    Rule("shell", "To collect stdout, the platform needs a shell at /bin/sh that knows `set`.", _STDOUT, _shell),
    Rule("tee", "To collect stdout, the platform needs `tee`.", _STDOUT, _tee),
    Rule("echo", "The default readiness probe executes `echo`.", _PROBES, _echo),
    Rule("log", "The log is on stdout, in the format that the container's settings name.", _FORMATS, _log),
    Rule("config", "cm.toml exists, is valid, and is readable.", _OWN, _config),
    Rule("handlers", "The program of each function exists and can be started.", _OWN, _handlers),
    Rule("temporary", "Results above 1 MiB wait in a temporary folder, else in memory.", _VOLUMES, _temporary),
    Rule("home", "A user without a name has no home, and some programs need one.", _OWN, _home),
    Rule("files", "The files that the platform mounts are readable.", _VARIABLES, _files),
    Rule("variables", "Only the platform sets its variables.", _VARIABLES, _variables),
)

UNCHECKED: Final = (
    "USER is a number: docker image inspect --format '{{.Config.User}}' IMAGE",
    "the tag is not `latest`, or the image is named by its digest",
    "ports that the image exposes are from 1024 to 65535, and not 8945 or 8946",
    "the image is not above 5 GB, or a replica starts slowly",
)
"""Rules that cannot be checked from inside (containers page; the last, debugging page)."""


RuleResult = tuple[Rule, Finding]


def check_image(config: Path, ignored: Sequence[str]) -> None:
    """Print the finding of each rule. Raises PreflightError for those that are broken and not `ignored`."""
    names = [rule.name for rule in RULES]
    for name in ignored:
        if name not in names:
            hint = did_you_mean(name, names, otherwise="the rules are")
            raise click.BadParameter(f"there is no rule {name!r}; {hint}", param_hint="--ignore")
    facts = inspect_image(config, os.environ)
    results = [(rule, rule.check(facts)) for rule in RULES]
    wrong = [(rule, finding) for rule, finding in results if finding.verdict != "ok" and rule.name not in ignored]
    unchecked = ["Not checked, since it is invisible from inside the image:", *(f"  - {line}" for line in UNCHECKED)]
    click.echo("\n\n".join(filter(None, [table(results, ignored), details(wrong), "\n".join(unchecked)])))
    broken = [rule.name for rule, finding in wrong if finding.verdict == "broken"]
    if broken:
        raise PreflightError(f"the image breaks {len(broken)} of {len(RULES)} rules: {', '.join(broken)}")


def table(results: Sequence[RuleResult], ignored: Sequence[str]) -> str:
    """Return a table with a row for each rule."""
    rows = [("RULE", "", "FOUND")]
    for rule, finding in results:
        is_ignored = finding.verdict != "ok" and rule.name in ignored
        rows.append((rule.name, "ignored" if is_ignored else finding.verdict, finding.found))
    return "\n".join(table_lines(rows))


def details(results: Sequence[RuleResult]) -> str:
    """Describe each rule that is not kept: its requirement, the problems, the remedy, and the source."""
    return "\n\n".join("\n".join(_detail_lines(rule, finding)) for rule, finding in results)


def _detail_lines(rule: Rule, finding: Finding) -> Iterator[str]:
    yield f"{finding.verdict}: {rule.name}: {rule.requirement}"
    yield from (f"  found:   {problem}" for problem in finding.problems or (finding.found,))
    yield f"  remedy:  {finding.remedy}"
    yield f"  source:  {rule.source}"
