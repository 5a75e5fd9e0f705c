"""The page: sections in order, one stylesheet, and a content-security policy that lets nothing else act."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace

from altair.utils.schemapi import debug_mode
from markupsafe import Markup

from reports import templating
from reports.data import ReportData, in_order
from reports.figures.base import leading_pairs
from reports.prose import vocabulary
from reports.sections import (
    answer,
    attention,
    calibration,
    circuits,
    compared,
    cross_patching,
    denoising,
    denoising_paths,
    depth,
    diagnostics,
    faithfulness,
    integration,
    lens,
    methods,
    movement,
    neurons,
    nodes,
    overlap,
    probes,
    provenance,
    robustness,
    similarity,
    specialization,
    targeted,
    terms,
    token_roles,
    trajectories,
    verdicts,
    weight_path,
)
from reports.sections.base import Section
from reports.sections.general import section_of
from reports.sharing import share
from reports.shown import shown_in

DRAWN = frozenset(
    name
    for module in (
        circuits,
        similarity,
        overlap,
        faithfulness,
        depth,
        specialization,
        integration,
        lens,
        denoising,
        denoising_paths,
        nodes,
        targeted,
        cross_patching,
        weight_path,
        token_roles,
        attention,
        probes,
        neurons,
        movement,
        trajectories,
    )
    for name in module.DRAWS
)
"""Tables and measures that have a section of their own; what kinds have besides is drawn by a general one."""

SECTIONS: tuple[Callable[[ReportData], Section | None], ...] = (
    answer.section,
    verdicts.section,
    compared.section,
    trajectories.section,
    circuits.section,
    similarity.section,
    overlap.section,
    faithfulness.section,
    depth.section,
    specialization.section,
    integration.section,
    lens.section,
    denoising.section,
    denoising_paths.section,
    nodes.section,
    targeted.section,
    cross_patching.section,
    weight_path.section,
    token_roles.section,
    attention.section,
    probes.section,
    neurons.section,
    movement.section,
    section_of(DRAWN),
    robustness.section,
    diagnostics.section,
    calibration.section,
    terms.section,
    methods.section,
    provenance.section,
)
"""What makes the sections, in order; None where a run has nothing for one that not every run has."""


STYLES = ("style.css", "circuit.css")
"""The stylesheet of a page, in parts."""
SCRIPT = "report.js"
"""The script among the templates that every interactive page runs; no page runs any but ours."""
CIRCUIT_SCRIPTS = ("circuit_model.js", "circuit.js")
"""The script of the circuits, where there are any, in parts."""


def render(data: ReportData, *, broken: list[str] | None = None) -> str:
    """The report as one self-contained HTML page without any request; it says the same where no script runs.

    Same data, same text. The page can be encoded as UTF-8 whatever the prompts contain.

    Args:
        data: What it shows.
        broken: Where given, a section that can't be drawn says so on the page and is added here, and the others come;
            else its error is raised.
    """
    style = "".join(templating.source(name) for name in STYLES)
    script = templating.source(SCRIPT) if data.interactive else ""
    sections = sections_of(data, broken=broken)
    circuit_data = _circuit_data(data, broken) if data.interactive else None
    circuit_script = "".join(templating.source(name) for name in CIRCUIT_SCRIPTS) if circuit_data else ""
    page = templating.render_template(
        "page",
        data=data,
        style=Markup(style),
        script=Markup(script),
        circuit_data=circuit_data,
        circuit_script=Markup(circuit_script),
        policy=policy(style, script, circuit_script),
        filters={name: names for name in ("task", "pair") if len(names := _names(data, name)) > 1},
        sections=sections,
        body=Markup(share(templating.render_template("sections", sections=sections))),
        verdicts=[finding.verdict for finding in data.findings.hypotheses],
    )
    return str(page)


def sections_of(data: ReportData, *, broken: list[str] | None = None, only: str = "") -> list[Section]:
    """The sections of the page in order, each with its figures and tables as objects, for what is no page as well.

    Args:
        data: What they show.
        broken: As of :func:`render`.
        only: Where a section is of this name, or is drawn from this table or measure, no other is made.
    """
    made_of = [section for section in SECTIONS if _name(section) in drawn_as(only)] or SECTIONS
    # Charts are our own code: Altair's check of it, meant for people who write charts, takes as long as they do.
    with debug_mode(False), vocabulary(data.words, data.roles), leading_pairs(first_of_each_role(data)):
        return [made for section in made_of if (made := _made(section, data, broken)) is not None]


def first_of_each_role(data: ReportData) -> set[str]:
    """The first pair of each role, as estimates list them: what stands for the others where there are many."""
    return {one.pair for one in {one.role: one for one in reversed(data.findings.estimates)}.values()}


def drawn_as(name: str) -> tuple[str, ...]:
    """The sections that are of a name, or are drawn from a table or measure of it."""
    return tuple(_name(section) for section in SECTIONS if name in (_name(section), *_draws(section)))


def _made(
    section: Callable[[ReportData], Section | None], data: ReportData, broken: list[str] | None
) -> Section | None:
    try:
        with templating.noted() as contexts:
            made = section(data)
    except Exception as error:
        if broken is None:
            raise
        name = _name(section)
        reason = _reason(error)
        broken.append(f"section {name} of the report: {reason}")
        body = Markup("<p>This section could not be drawn: {}. The tables of the run are whole.</p>").format(reason)
        return Section(id=name, title=name.replace("_", " ").capitalize(), body=body)
    if made is None:
        return None
    figures, tables = shown_in(contexts)
    return replace(made, figures=figures, tables=tables, draws=_draws(section))


def _name(section: Callable[[ReportData], Section | None]) -> str:
    return section.__module__.rpartition(".")[2]


def _draws(section: Callable[[ReportData], Section | None]) -> tuple[str, ...]:
    """The tables and measures that a section says that it draws."""
    return tuple(getattr(sys.modules[section.__module__], "DRAWS", ()))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _circuit_data(data: ReportData, broken: list[str] | None) -> Markup | None:
    try:
        return circuits.script_data(data)
    except Exception as error:
        if broken is None:
            raise
        broken.append(f"script of the circuits: {_reason(error)}")  # their drawings stay
        return None


def policy(style: str, *scripts: str) -> str:
    """Content-security policy that allows this one stylesheet, these scripts if any, and images within the page."""
    sources = ["default-src 'none'", "img-src data:", f"style-src {_digest(style)}"]
    if allowed := [_digest(script) for script in scripts if script]:
        sources.append(f"script-src {' '.join(allowed)}")
    return "; ".join((*sources, "base-uri 'none'", "form-action 'none'"))


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _names(data: ReportData, column: str) -> list[str]:
    """The tasks or pairs that any table has, in order of first appearance."""
    found = [name for frame in data.tables.values() if column in frame.columns for name in in_order(frame, column)]
    return list(dict.fromkeys(found))
