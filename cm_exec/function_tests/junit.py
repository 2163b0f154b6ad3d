"""The results of a run as JUnit XML, which CI systems read."""

from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from cm_exec.function_tests.cases import PreparedTest
from cm_exec.function_tests.runner import CompletedTest
from cm_exec.text import visible

_NOT_RUN: Final = "not run"


def junit_xml(
    cases: Sequence[PreparedTest], completed: Iterable[CompletedTest], *, started: str, seconds: float
) -> bytes:
    """Return a `testsuites` element with a `testsuite` for each function and a `testcase` for each of its tests.

    A wrong result is a `failure`; a job that failed though a result was expected is an `error`; a test that did not
    run is `skipped`. `started` is an ISO 8601 time.
    """
    by_test = {one.case.test.at: one for one in completed}
    root = ET.Element("testsuites", name="cm-exec test", time=_time(seconds))
    for function in dict.fromkeys(case.test.function for case in cases):
        suite = ET.SubElement(root, "testsuite", name=function, timestamp=started)
        own = [case for case in cases if case.test.function == function]
        for case in own:
            _add_case(suite, case, by_test.get(case.test.at))
        _count(suite)
        suite.set("time", _time(sum(by_test[c.test.at].seconds for c in own if c.test.at in by_test)))
    _count(root)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add_case(suite: ET.Element, case: PreparedTest, completed: CompletedTest | None) -> None:
    test = case.test
    seconds = _time(completed.seconds if completed else 0)
    element = ET.SubElement(suite, "testcase", classname=test.function, name=test.label, time=seconds)
    if completed is None:
        ET.SubElement(element, "skipped", message=_NOT_RUN)
        return
    if (problem := completed.problem) is not None:
        kind, type_ = ("failure", "result") if problem.reason is None else ("error", problem.reason)
        detail = ET.SubElement(element, kind, message=visible(problem.message), type=type_)
        detail.text = visible("\n".join([problem.message, *problem.details]), keep="\n")
    if completed.stderr:
        ET.SubElement(element, "system-err").text = visible(
            completed.stderr.decode(errors="backslashreplace"), keep="\n"
        )


def _count(element: ET.Element) -> None:
    for attribute, path in (
        ("tests", ".//testcase"),
        ("failures", ".//failure"),
        ("errors", ".//error"),
        ("skipped", ".//skipped"),
    ):
        element.set(attribute, str(len(element.findall(path))))


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
