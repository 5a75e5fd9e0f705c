"""Whether the alternatives that a spec names differ from the study and are valid themselves."""

from __future__ import annotations

from collections.abc import Iterator

from mechshift_core.kinds import testables
from mechshift_core.kinds.section import SHARED
from mechshift_core.spec.draft import Draft
from mechshift_core.spec.problems import listing
from mechshift_core.spec.sensitivity import averaged, measures_of, own_values, section_of
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path


def check_sensitivity(draft: Draft) -> Iterator[Complaint]:
    """Each alternative differs from the study and the others, is implemented, and some hypothesis depends on it."""
    if {"hypotheses", "measures", "interventions", "statistics", "sensitivity"} & draft.broken:
        return
    own = own_values(draft.spec)
    for name in type(draft.spec.sensitivity).model_fields:
        values = draft.spec.sensitivity.values(name)
        path: Path = ("sensitivity", name)
        if not values:
            continue
        yield from _idle(draft, name, path)
        if name == "method" and "rank-average" in values and len(averaged(draft.spec)) < 2:
            message = "'rank-average' needs another method that takes gradients beside it, or the study's own"
            yield Complaint((*path, values.index("rank-average")), message)
        for position, value in enumerate(values):
            if value in values[:position]:
                yield Complaint((*path, position), f"duplicate value {value!r}")
            elif value in own[name]:
                yield Complaint((*path, position), f"{value!r} is the study's own choice")
            if name == "ablation" and value in SHARED and draft.spec.denoising.reveal == "confidence":
                message = f"{value!r} takes values from other prompts in the same state, which reveal: confidence lacks"
                yield Complaint((*path, position), message)


def _idle(draft: Draft, name: str, path: Path) -> Iterator[Complaint]:
    """Why no hypothesis can depend on a choice."""
    spec = draft.spec
    tested = {hypothesis.measure for hypothesis in spec.hypotheses}
    section, concerned = section_of(name), measures_of(name)
    if section is not None and section not in spec.measures.declared:
        yield Complaint(path, f"`measures` has no {section!r} to choose otherwise in", on_key=True)
    elif name == "steps" and not any(getattr(one, "on_path", False) for one in spec.interventions):
        yield Complaint(path, "only attribution methods on a path (eap-ig and its kin) have steps", on_key=True)
    elif not (tested if concerned is None else tested.intersection(concerned)):
        measures = listing([one.name for one, _ in testables()] if concerned is None else concerned)
        yield Complaint(path, f"no hypothesis depends on it (those on {measures} do)", on_key=True)
