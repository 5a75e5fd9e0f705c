"""The page: sections in order, one stylesheet, and a content-security policy that lets nothing else act."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from markupsafe import Markup

from reports import templating
from reports.data import ReportData
from reports.sections import (
    calibration,
    circuits,
    compared,
    denoising,
    depth,
    diagnostics,
    faithfulness,
    integration,
    lens,
    methods,
    nodes,
    overlap,
    provenance,
    robustness,
    specialization,
    token_roles,
    verdicts,
)
from reports.sections.base import Section
from reports.sharing import share

SECTIONS: tuple[Callable[[ReportData], Section | None], ...] = (
    verdicts.section,
    compared.section,
    circuits.section,
    overlap.section,
    faithfulness.section,
    depth.section,
    specialization.section,
    integration.section,
    lens.section,
    denoising.section,
    nodes.section,
    token_roles.section,
    robustness.section,
    diagnostics.section,
    calibration.section,
    methods.section,
    provenance.section,
)
"""What makes the sections, in order; None where a run has nothing for one that not every run has."""


def render(data: ReportData) -> str:
    """The report as one self-contained HTML page, without scripts and without any request.

    Same data, same text. The page can be encoded as UTF-8 whatever the prompts contain.
    """
    style = templating.source("style.css")
    sections = [made for section in SECTIONS if (made := section(data)) is not None]
    page = templating.render_template(
        "page",
        data=data,
        style=Markup(style),
        policy=policy(style),
        sections=sections,
        body=Markup(share(templating.render_template("sections", sections=sections))),
        verdicts=[finding.verdict for finding in data.findings.hypotheses],
    )
    return str(page)


def policy(style: str) -> str:
    """Content-security policy that allows this one stylesheet and images within the page."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sources = ("default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'", "base-uri 'none'")
    return "; ".join((*sources, "form-action 'none'"))
