"""What is estimated, in words."""

from __future__ import annotations

from pathlib import Path

from studies import write_study

from mechshift_core.analysis.estimands import estimand
from mechshift_core.spec import load_spec


def test_a_group_of_all_tasks_beside_one_of_a_single_task_says_so(tmp_path: Path) -> None:
    to_all = {"kind": "equivalence", "to": {"role": "control"}, "margin": 0.2}
    to_one = {**to_all, "to": {"role": "control", "task": "mine"}}
    where = {"role": "treatment", "task": "mine"}
    claims: list[dict[str, object]] = [
        {"id": "wide", "measure": "retention", "where": where, "test": to_all},
        {"id": "narrow", "measure": "retention", "where": where, "test": to_one},
    ]
    spec = load_spec(write_study(tmp_path, hypotheses=claims))
    wide, narrow = (estimand(spec, one).partition("averaged over ")[2] for one in spec.hypotheses)
    assert wide == "treatment pairs on task mine, minus the same over control pairs on all tasks"
    assert narrow == "treatment pairs on task mine, minus the same over control pairs on task mine"
