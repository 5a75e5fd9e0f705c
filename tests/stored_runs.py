"""Finished runs as their files alone, without any model: findings made up, a spec that goes with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mechshift_core.spec.starters import starter
from stats.findings import Estimate, Finding, Findings, Term

PROMPTS = {"ioi": "11" * 32, "countdown": "22" * 32}


def finding(**changes: Any) -> Finding:
    """A supported claim of a lower value, on the task `countdown`: -0.40 [-0.54, -0.26]."""
    term = Term(
        pair="diffusion", role="treatment", seed=0, task="countdown", regime="global", weight=1.0, estimate=-0.4, n=100
    )
    made = Finding(
        id="lower",
        claim="It is lower.",
        measure="retention",
        estimand="retention on countdown",
        test="difference",
        alternative="less",
        margin=None,
        estimate=-0.4,
        se=0.07,
        low=-0.54,
        high=-0.26,
        confidence=0.95,
        statistic=-5.7,
        df=99.0,
        p=1e-7,
        p_corrected=2e-7,
        correction="holm",
        family_size=2,
        n={"prompt": 100, "task": 1, "seed": 1},
        method="t-test",
        seed=7,
        verdict="supported",
        status="ok",
        terms=(term,),
    )
    return replace(made, **changes)


def equivalent(**changes: Any) -> Finding:
    """A supported claim of equivalence within 0.2: 0.03 [-0.03, 0.09]."""
    shown: dict[str, Any] = {"id": "kept", "test": "equivalence", "alternative": "equivalent", "margin": 0.2}
    return finding(**shown | {"estimate": 0.03, "se": 0.03, "low": -0.03, "high": 0.09} | changes)


def undefined(**changes: Any) -> Finding:
    """A finding without an estimate."""
    none = dict.fromkeys(("estimate", "se", "low", "high", "statistic", "df", "p", "p_corrected"))
    shown = none | {"id": "none", "verdict": "not estimable", "status": "undefined", "message": "no ceiling"}
    return finding(**shown | changes)


def estimate(**changes: Any) -> Estimate:
    """Retention of one pair on one task: 0.6 [0.5, 0.7]."""
    made = Estimate(
        pair="diffusion",
        role="treatment",
        seed=0,
        task="countdown",
        regime="global",
        measure="retention",
        side="between",
        estimate=0.6,
        low=0.5,
        high=0.7,
        confidence=0.95,
        n={"prompt": 100},
        method="split halves",
        status="ok",
    )
    return replace(made, **changes)


def findings(*hypotheses: Finding, estimates: tuple[Estimate, ...] = (), name: str = "made-up") -> Findings:
    return Findings(name=name, hypotheses=hypotheses or (finding(), equivalent()), estimates=estimates)


def write_run(
    folder: Path,
    found: Findings,
    *,
    failures: tuple[str, ...] = (),
    spec: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """A run directory that has come to an end."""
    folder.mkdir(parents=True, exist_ok=True)
    text = starter("quickstart").spec if spec is None else spec
    facts = {
        "mechshift": "0.1.0",
        "spec": {"name": found.name, "sha256": hashlib.sha256(text.encode()).hexdigest(), "seed": 7},
        "data": {task: {"examples": 100, "sha256": digest} for task, digest in PROMPTS.items()},
        "failures": list(failures),
    }
    (folder / "spec.yaml").write_bytes(text.encode())
    (folder / "plan.json").write_text("{}")
    (folder / "findings.json").write_text(found.to_json(), encoding="utf-8")
    (folder / "provenance.json").write_text(json.dumps({**facts, **(provenance or {})}))
    (folder / "analysis.json").write_text("key")
    return folder
