"""The rules for images, applied to facts as values."""

from dataclasses import replace
from pathlib import Path

import pytest

from cm_exec.preflight.image_rules import RULES, Finding, ImageFacts, details, table

GOOD = ImageFacts(
    uid=5000,
    gid=5000,
    system="Linux",
    machine="x86_64",
    shell="",
    tee="",
    echo="/bin/echo",
    config=Path("cm.toml"),
    config_is_readable=True,
    errors=(),
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


def findings(facts: ImageFacts) -> dict[str, Finding]:
    return {rule.name: rule.check(facts) for rule in RULES}


def test_good_image() -> None:
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
        (replace(GOOD, config_is_readable=False, errors=("cm.toml: no such file",)), "config", "broken"),
        (replace(GOOD, errors=("cm.toml: functions.f: wrong",)), "config", "broken"),
        (replace(GOOD, temporary=None), "temporary", "warning"),
        (replace(GOOD, home=None), "home", "warning"),
        (replace(GOOD, unreadable=(("MODULE_AUTH_TOKEN", "/opt/token"),)), "files", "broken"),
        (replace(GOOD, absent=(("DEFAULT_CA_PATH", "/etc/ca.pem"),)), "files", "warning"),
        (replace(GOOD, reserved=("CLIENT_ID",)), "variables", "warning"),
    ],
)
def test_wrong_image(facts: ImageFacts, rule: str, verdict: str) -> None:
    """Each rule reports its violation and a remedy."""
    finding = findings(facts)[rule]
    assert finding.verdict == verdict
    assert finding.remedy


def test_one_rule() -> None:
    """A defect breaks only its own rule."""
    assert [name for name, finding in findings(replace(GOOD, echo="")).items() if finding.verdict != "ok"] == ["echo"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_source(rule: object) -> None:
    assert any(place in str(rule) for place in ("https://www.palantir.com/docs/foundry/", "docs/deploying.md"))


def test_log_format() -> None:
    assert "plaintext" in findings(GOOD)["log"].found
    assert "SLS" in findings(replace(GOOD, log_format="sls"))["log"].found


def test_details() -> None:
    (user,) = (rule for rule in RULES if rule.name == "user")
    text = details([(user, user.check(replace(GOOD, uid=0)))])
    assert text.splitlines()[0].startswith("broken: user: ")
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["found:", "remedy:", "source:"]


def test_ignored() -> None:
    """An ignored rule is still listed."""
    judged = [(rule, rule.check(replace(GOOD, echo=""))) for rule in RULES]
    assert "echo       ignored  no program echo on PATH" in table(judged, ["echo"])
