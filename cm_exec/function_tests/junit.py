"""The outcome of a run as JUnit's XML, which CI systems read."""

from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from cm_exec.function_tests.case import Case
from cm_exec.function_tests.excerpt import visible
from cm_exec.function_tests.runner import Ran

_NOT_RUN: Final = "not run"


def junit_xml(cases: Sequence[Case], ran: Iterable[Ran], *, started: str, seconds: float) -> bytes:
    """A `testsuites` with a `testsuite` for each function and a `testcase` for each of its tests.

    A wrong result is a `failure`, a job that failed though a result was expected an `error`; a test that did not run
    is `skipped`. `started` is a time of ISO 8601.
    """
    by_test = {one.case.test.at: one for one in ran}
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


def _add_case(suite: ET.Element, case: Case, ran: Ran | None) -> None:
    test = case.test
    seconds = _time(ran.seconds if ran else 0)
    element = ET.SubElement(suite, "testcase", classname=test.function, name=test.label, time=seconds)
    if ran is None:
        ET.SubElement(element, "skipped", message=_NOT_RUN)
        return
    if (complaint := ran.complaint) is not None:
        kind, type_ = ("failure", "result") if complaint.reason is None else ("error", complaint.reason)
        problem = ET.SubElement(element, kind, message=visible(complaint.message), type=type_)
        problem.text = visible("\n".join([complaint.message, *complaint.details]))
    if ran.stderr:
        ET.SubElement(element, "system-err").text = visible(ran.stderr.decode(errors="backslashreplace"))


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
