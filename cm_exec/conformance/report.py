"""Play all rules, and write the table."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from cm_exec.conformance.rules import RULES, ProtocolRule
from cm_exec.conformance.stage import RuleBrokenError, Stage
from cm_exec.local_runtime.worker_files import Style
from cm_exec.terminal import GREEN, RED, Terminal

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


def play_all(
    command: Sequence[str], style: Style, *, jobs: int, on_result: Callable[[RuleResult], None]
) -> list[RuleResult]:
    """Play all rules, `jobs` at a time, and return their results in the order of the rules."""

    def play(rule: ProtocolRule) -> RuleResult:
        result = _play(rule, command, style)
        on_result(result)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(play, RULES))


def _play(rule: ProtocolRule, command: Sequence[str], style: Style) -> RuleResult:
    with Stage(command, style, **rule.options) as stage:
        try:
            observed = rule.play(stage)
        except RuleBrokenError as broken:
            log = tuple(line[:200] for line in list(stage.log)[-_LOG_SHOWN:])
            return RuleResult(rule=rule, holds=False, observed=str(broken), log=log)
        return RuleResult(rule=rule, holds=True, observed=observed)


def print_result(terminal: Terminal, result: RuleResult) -> None:
    """Print a rule and what the worker did."""
    mark = terminal.styled("holds ", GREEN) if result.holds else terminal.styled("BROKEN", RED)
    lines = [f"{mark}  {result.rule.name}: {result.rule.text}", f"        {result.observed}"]
    terminal.write("\n".join([*lines, *(f"        | {line}" for line in result.log)]))
