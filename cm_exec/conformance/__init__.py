"""Play all rules, and write the table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cm_exec.conformance.rules import RULES, ProtocolRule
from cm_exec.conformance.stage import NoPollError, RuleBrokenError, Stage
from cm_exec.local_runtime.worker_files import Style
from cm_exec.processes.signals import run_in_threads
from cm_exec.terminal import GREEN, RED, Terminal
from cm_exec.text import count_text

_LOG_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What a worker did in one situation. `log` is the end of its log if that was wrong."""

    rule: ProtocolRule
    holds: bool
    observed: str
    log: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """Return the result as JSON has it."""
        return {
            "name": self.rule.name,
            "rule": f"The worker {self.rule.text}.",
            "holds": self.holds,
            "observed": self.observed,
            "log": list(self.log),
        }


class Conformance:
    """Plays all rules against one command, `jobs` at a time. `on_result` is called after each.

    `start_timeout` is the time in seconds from the worker's start to its first poll.
    """

    def __init__(
        self,
        command: Sequence[str],
        style: Style,
        *,
        jobs: int,
        start_timeout: float,
        on_result: Callable[[RuleResult], None],
    ) -> None:
        self._command = command
        self._style: Style = style
        self._jobs = jobs
        self._start_timeout = start_timeout
        self._on_result = on_result
        self._results: dict[str, RuleResult] = {}
        self._stages: set[Stage] = set()
        self._interrupted = False
        self.silent = False
        """Whether the worker never polled: then no more rules are played."""

    @property
    def results(self) -> list[RuleResult]:
        """The results so far, in the order of the rules."""
        return [self._results[rule.name] for rule in RULES if rule.name in self._results]

    @property
    def holds(self) -> bool:
        """Whether all rules were played and hold."""
        return len(self._results) == len(RULES) and all(result.holds for result in self.results)

    def play(self) -> None:
        """Play the rules. On KeyboardInterrupt it ends the workers, and leaves threads behind."""
        try:
            run_in_threads(self._play, RULES, self._jobs)
        except KeyboardInterrupt:
            self._interrupted = True
            for stage in tuple(self._stages):
                stage.end()
            raise

    def _play(self, rule: ProtocolRule) -> None:
        if self.silent or self._interrupted:
            return
        with Stage(self._command, self._style, start_timeout=self._start_timeout, **rule.options) as stage:
            self._stages.add(stage)
            try:
                result = RuleResult(rule=rule, holds=True, observed=rule.play(stage))
            except RuleBrokenError as broken:
                self.silent = isinstance(broken, NoPollError) and not any(each.holds for each in self.results)
                log = tuple(line[:200] for line in list(stage.log)[-_LOG_SHOWN:])
                result = RuleResult(rule=rule, holds=False, observed=str(broken), log=log)
            self._stages.discard(stage)
        if self._interrupted:
            return
        self._results[rule.name] = result
        self._on_result(result)


def print_result(terminal: Terminal, result: RuleResult) -> None:
    """Print a rule and what the worker did."""
    mark = terminal.styled("holds ", GREEN) if result.holds else terminal.styled("BROKEN", RED)
    lines = [f"{mark}  {result.rule.name}: {result.rule.text}", f"        {result.observed}"]
    terminal.write("\n".join([*lines, *(f"        | {line}" for line in result.log)]))


def summary(conformance: Conformance) -> str:
    """Return the number of rules that hold, that are broken, and that were not played."""
    results = conformance.results
    broken = [result for result in results if not result.holds]
    has_no_echo = any(result.rule is RULES[0] and "instead of the query" in result.observed for result in broken)
    hint = "; the worker must serve a function `echo` that returns its query" if has_no_echo else ""
    missing = len(RULES) - len(results)
    why = ", since the worker never polled" if conformance.silent else ""
    parts = [f"{len(broken)} broken" if broken else "", f"{missing} not played{why}" if missing else ""]
    return f"{count_text(len(RULES), 'rule')}: {', '.join(filter(None, parts)) or 'all hold'}{hint}"
