"""The page: sections in order, one stylesheet, and a content-security policy that lets nothing else act."""

from __future__ import annotations

import base64
import hashlib

from markupsafe import Markup

from reports import templating
from reports.data import ReportData
from reports.sections import (
    circuits,
    compared,
    depth,
    diagnostics,
    methods,
    overlap,
    provenance,
    specialization,
    verdicts,
)

SECTIONS = (verdicts, compared, circuits, overlap, depth, specialization, diagnostics, methods, provenance)


def render(data: ReportData) -> str:
    """The report as one self-contained HTML page, without scripts and without any request.

    Same data, same text. The page can be encoded as UTF-8 whatever the prompts contain.
    """
    style = templating.source("style.css")
    page = templating.render_template(
        "page",
        data=data,
        style=Markup(style),
        policy=policy(style),
        sections=[module.section(data) for module in SECTIONS],
        verdicts=[finding.verdict for finding in data.findings.hypotheses],
    )
    return str(page)


def policy(style: str) -> str:
    """Content-security policy that allows this one stylesheet and images within the page."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sources = ("default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'", "base-uri 'none'")
    return "; ".join((*sources, "form-action 'none'"))
