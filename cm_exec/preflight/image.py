"""`cm-exec check --image-rules`: which of Foundry's rules for images the image breaks that it runs in."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from cm_exec.config import ConfigError
from cm_exec.preflight.image_facts import look
from cm_exec.preflight.image_report import details, table, unseen
from cm_exec.preflight.image_rules import RULES
from cm_exec.protocol.nearest import nearest

_NAMES: Final = tuple(rule.name for rule in RULES)


class BrokenRulesError(Exception):
    """The image breaks rules, so that Foundry would not run it, or not as one wants."""

    exit_code = ConfigError.exit_code


def check_image(config: Path, ignored: Sequence[str]) -> None:
    """Print what each rule found. Raises BrokenRulesError for those that are broken and not `ignored`."""
    _check_names(ignored)
    facts = look(config, os.environ)
    judged = [(rule, rule.judge(facts)) for rule in RULES]
    click.echo(table(judged, ignored))
    wrong = [(rule, finding) for rule, finding in judged if finding.verdict != "ok" and rule.name not in ignored]
    for text in (details(wrong), unseen()):
        if text:
            click.echo(f"\n{text}")
    broken = [rule.name for rule, finding in wrong if finding.verdict == "broken"]
    if broken:
        raise BrokenRulesError(f"the image breaks {len(broken)} of {len(RULES)} rules: {', '.join(broken)}")


def _check_names(ignored: Sequence[str]) -> None:
    for name in ignored:
        if name not in _NAMES:
            near = nearest(name, _NAMES)
            hint = f"did you mean {near}?" if near else f"the rules are {', '.join(_NAMES)}"
            raise click.BadParameter(f"there is no rule {name!r}; {hint}", param_hint="--ignore")
