"""The rules for images, on facts as values."""

from dataclasses import replace
from pathlib import Path

import pytest

from cm_exec.preflight.image_facts import Facts
from cm_exec.preflight.image_report import details, table
from cm_exec.preflight.image_rules import RULES, Finding

GOOD = Facts(
    uid=5000,
    gid=5000,
    system="Linux",
    machine="x86_64",
    shell="",
    tee="",
    echo="/bin/echo",
    config=Path("cm.toml"),
    config_is_readable=True,
    mistakes=(),
    functions=(),
    log_format="text",
    temporary="/tmp",
    root_is_read_only=False,
    home="/tmp",
    has_runtime=False,
    unreadable=(),
    absent=(),
    reserved=(),
)


def findings(facts: Facts) -> dict[str, Finding]:
    return {rule.name: rule.judge(facts) for rule in RULES}


def test_a_good_image_keeps_every_rule() -> None:
    assert {finding.verdict for finding in findings(GOOD).values()} == {"ok"}


@pytest.mark.parametrize(
    ("facts", "rule", "verdict"),
    [
        (replace(GOOD, uid=0), "user", "broken"),
        (replace(GOOD, machine="aarch64"), "platform", "broken"),
        (replace(GOOD, system="Darwin"), "platform", "broken"),
        (replace(GOOD, shell="is not in the image"), "shell", "broken"),
        (replace(GOOD, tee="is not in the image"), "tee", "broken"),
        (replace(GOOD, echo=""), "echo", "broken"),
        (replace(GOOD, config_is_readable=False, mistakes=("cm.toml: no such file",)), "config", "broken"),
        (replace(GOOD, mistakes=("cm.toml: functions.f: wrong",)), "config", "broken"),
        (replace(GOOD, temporary=None), "temporary", "warning"),
        (replace(GOOD, home=None), "home", "warning"),
        (replace(GOOD, unreadable=(("MODULE_AUTH_TOKEN", "/opt/token"),)), "files", "broken"),
        (replace(GOOD, absent=(("DEFAULT_CA_PATH", "/etc/ca.pem"),)), "files", "warning"),
        (replace(GOOD, reserved=("CLIENT_ID",)), "variables", "warning"),
    ],
)
def test_a_rule_sees_what_is_wrong_and_says_what_to_do(facts: Facts, rule: str, verdict: str) -> None:
    finding = findings(facts)[rule]
    assert finding.verdict == verdict
    assert finding.remedy


def test_a_fault_breaks_its_own_rule_only() -> None:
    assert [name for name, finding in findings(replace(GOOD, echo="")).items() if finding.verdict != "ok"] == ["echo"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_says_where_it_is_written(rule: object) -> None:
    assert any(place in str(rule) for place in ("https://www.palantir.com/docs/foundry/", "docs/deploying.md"))


def test_the_log_s_format_is_the_one_to_choose_in_foundry() -> None:
    assert "plaintext" in findings(GOOD)["log"].found
    assert "SLS" in findings(replace(GOOD, log_format="sls"))["log"].found


def test_a_problem_is_told_with_its_remedy_and_its_source() -> None:
    (user,) = (rule for rule in RULES if rule.name == "user")
    text = details([(user, user.judge(replace(GOOD, uid=0)))])
    assert text.splitlines()[0].startswith("broken: user: ")
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["found:", "remedy:", "source:"]


def test_an_ignored_rule_is_not_hidden() -> None:
    judged = [(rule, rule.judge(replace(GOOD, echo=""))) for rule in RULES]
    assert "echo       ignored  no program echo in PATH" in table(judged, ["echo"])
