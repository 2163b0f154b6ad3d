"""The findings of an image's rules as text."""

from collections.abc import Iterator, Sequence

from cm_exec.preflight.image_rules import UNSEEN, Finding, Rule

Judged = tuple[Rule, Finding]


def table(judged: Sequence[Judged], ignored: Sequence[str]) -> str:
    """A line a rule."""
    rows = [
        ("RULE", "", "FOUND"),
        *((rule.name, _word(rule, finding, ignored), finding.found) for rule, finding in judged),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{name:{widths[0]}}  {word:{widths[1]}}  {found}" for name, word, found in rows)


def _word(rule: Rule, finding: Finding, ignored: Sequence[str]) -> str:
    return "ignored" if finding.verdict != "ok" and rule.name in ignored else finding.verdict


def details(judged: Sequence[Judged]) -> str:
    """For each rule that is not kept: what it asks, what is wrong, what to do, and where it is written."""
    return "\n\n".join("\n".join(_lines(rule, finding)) for rule, finding in judged)


def _lines(rule: Rule, finding: Finding) -> Iterator[str]:
    yield f"{finding.verdict}: {rule.name}: {rule.demand}"
    yield from (f"  found:   {problem}" for problem in finding.problems or (finding.found,))
    yield f"  remedy:  {finding.remedy}"
    yield f"  source:  {rule.source}"


def unseen() -> str:
    """What a person has to see to."""
    return "\n".join(["Not to be seen from inside the image:", *(f"  - {line}" for line in UNSEEN)])
