"""The outcome of a check as text, Markdown, JUnit XML and JSON: estimate, interval and margin side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from mechshift_core.gate.check import Gate
from mechshift_core.markdown import escape, printable, table
from reports import formats
from reports.prose import declaration_notes
from stats.baseline import Recorded
from stats.regression import BAD, Comparison

CONCLUSIONS = {
    0: "passed",
    1: "failed",
    3: "the run is partial",
    4: "nothing is decided: there are only inconclusive findings",
}
"""Exit code -> the outcome in words."""


def numbers(finding: Recorded | None) -> str:
    """Estimate, interval and verdict."""
    if finding is None:
        return formats.MISSING
    if finding.estimate is None:
        return f"no estimate ({finding.status}), {finding.verdict}"
    interval = "" if finding.low is None else f" {formats.interval(finding.low, finding.high)}"
    return f"{formats.number(finding.estimate)}{interval}, {finding.verdict}"


def held_against(comparison: Comparison) -> str:
    """The tolerance and where it comes from."""
    if comparison.tolerance is None:
        return formats.MISSING
    return f"±{formats.number(comparison.tolerance)}, {comparison.basis}"


def difference(comparison: Comparison) -> str:
    """Found minus recorded, with its interval if it has one."""
    interval = "" if comparison.low is None else f" {formats.interval(comparison.low, comparison.high)}"
    return formats.number(comparison.difference) + interval


def lines(comparison: Comparison) -> list[str]:
    """A finding in plain text: one line where nothing has changed, otherwise both sides under one another."""
    name, reasons = printable(comparison.id), [f"  {printable(reason)}" for reason in comparison.reasons]
    if comparison.outcome == "unchanged":
        margin = "" if comparison.tolerance is None else f"  ({held_against(comparison)})"
        return [f"{comparison.outcome:<12} {name:<24} {numbers(comparison.found)}{margin}", *reasons]
    shown = [
        f"{comparison.outcome:<12} {name}",
        f"  baseline   {numbers(comparison.recorded)}",
        f"  run        {numbers(comparison.found)}",
    ]
    if comparison.difference is not None:
        against = "" if comparison.tolerance is None else f", held against {held_against(comparison)}"
        shown.append(f"  difference {difference(comparison)}{against}")
    return [*shown, *reasons]


def text(gate: Gate) -> str:
    """The whole check in plain text."""
    shown = [line for comparison in gate.comparisons for line in lines(comparison)]
    notes = [printable(note) for note in declaration_notes(gate.declaration)]
    return "\n".join([*shown, *notes, f"gate: {CONCLUSIONS[gate.exit_code]}"])


def markdown(gate: Gate) -> str:
    """The whole check as Markdown, e.g. for the summary of a job."""
    rows = [
        [
            f"**{found.outcome}**" if found.outcome in BAD else found.outcome,
            escape(found.id),
            escape(numbers(found.recorded)),
            escape(numbers(found.found)),
            escape(difference(found)),
            escape(held_against(found)),
            escape("; ".join(found.reasons)),
        ]
        for found in gate.comparisons
    ]
    headings = ["outcome", "finding", "baseline", "run", "difference", "margin", "why"]
    parts = [f"### Findings of {escape(gate.name)}: {CONCLUSIONS[gate.exit_code]}", table(headings, rows)]
    parts += [escape(note) for note in declaration_notes(gate.declaration)]
    if gate.not_held:
        parts.append(f"Not supported although it must be: {', '.join(map(escape, gate.not_held))}")
    if gate.failures:
        parts.append("\n".join(["Failed in the run:", "", *(f"- {escape(line)}" for line in gate.failures)]))
    return "\n\n".join(parts) + "\n"


def junit(gate: Gate) -> str:
    """The whole check as JUnit XML: a test case per finding, one more for a run that is partial.

    What has regressed or must hold and does not is a failure; what is new or undecided is skipped.
    """
    suite = ElementTree.Element("testsuite", name=f"mechshift check {printable(gate.name)}")
    for found in gate.comparisons:
        case = _case(suite, gate, found.id)
        why = printable("; ".join(found.reasons))
        kind = found.outcome if found.outcome in BAD else "not supported" if found.id in gate.not_held else ""
        beside = "\n".join(lines(found))
        if kind:
            message = why or "the hypothesis must be supported and is not"
            ElementTree.SubElement(case, "failure", type=kind, message=message).text = beside
        elif found.outcome in ("new", "undecided"):
            ElementTree.SubElement(case, "skipped", message=why)
        ElementTree.SubElement(case, "system-out").text = beside
    for line in gate.failures:
        ElementTree.SubElement(_case(suite, gate, "run"), "error", type="partial run", message=printable(line))
    for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len(list(suite.iter(tag)))))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_json(gate: Gate) -> dict[str, Any]:
    """The whole check as plain data."""
    return {
        "name": gate.name,
        "exit_code": gate.exit_code,
        "conclusion": CONCLUSIONS[gate.exit_code],
        "not_held": list(gate.not_held),
        "failures": list(gate.failures),
        "declaration": asdict(gate.declaration),
        "findings": [asdict(found) for found in gate.comparisons],
    }


def _case(suite: ElementTree.Element, gate: Gate, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=f"mechshift.{printable(gate.name)}", name=printable(name)
    )
