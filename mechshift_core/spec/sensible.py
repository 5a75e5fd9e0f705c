"""Whether the alternatives that a spec names differ from the study and are valid themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
        if not values:
            continue
        yield from _idle(draft, name)
        for place, message in _wrong_values(draft, name, values, own[name]):
            yield Complaint(("sensitivity", name, place), f"sensitivity.{name}: {message}")


def _wrong_values(
    draft: Draft, name: str, values: tuple[Any, ...], own: tuple[object, ...]
) -> Iterator[tuple[int, str]]:
    """What is wrong with values of a choice, each fault once, with the place of the first value that has it."""
    if name == "method" and "rank-average" in values and len(averaged(draft.spec)) < 2:
        message = "'rank-average' needs another method that takes gradients beside it, or the study's own"
        yield values.index("rank-average"), message
    places = range(len(values))
    twice = [place for place in places if values[place] in values[:place]]
    if twice:
        yield twice[0], f"duplicate value {_listed(values, twice)}; each is tried once"
    same = [place for place in places if values[place] in own and place not in twice]
    if same:
        others = "leave it out, it is what the verdicts are of"
        yield same[0], f"{_listed(values, same)} is the study's own choice; {others}"
    shared = [place for place in places if values[place] in SHARED] if name == "ablation" else []
    if shared and draft.spec.denoising.reveal == "confidence":
        message = "takes values from other prompts in the same state, which reveal: confidence lacks"
        yield shared[0], f"{_listed(values, shared)} {message}; counterfactual and zero do not"


def _listed(values: tuple[Any, ...], places: list[int]) -> str:
    return " and ".join(dict.fromkeys(repr(values[place]) for place in places))


def _idle(draft: Draft, name: str) -> Iterator[Complaint]:
    """Why no hypothesis can depend on a choice."""
    spec = draft.spec
    path: Path = ("sensitivity", name)
    tested = {hypothesis.measure for hypothesis in spec.hypotheses}
    section, concerned = section_of(name), measures_of(name)
    if section is not None and section not in spec.measures.declared:
        message = f"`measures` has no {section!r} to choose otherwise in"
    elif name == "interval" and spec.statistics.units.seed == "random":
        message = (
            "with random training seeds (statistics.units.seed) verdicts rest on standard errors over prompts and "
            "seeds, whatever the bootstrap's intervals; leave it out"
        )
    elif name == "steps" and not any(getattr(one, "on_path", False) for one in spec.interventions):
        message = "only attribution methods on a path (eap-ig and its kin) have steps"
    elif not (tested if concerned is None else tested.intersection(concerned)):
        measures = listing([one.name for one, _ in testables()] if concerned is None else concerned)
        message = f"no hypothesis depends on it (those on {measures} do); leave it out"
    else:
        return
    yield Complaint(path, f"sensitivity.{name}: {message}", on_key=True)
