"""Whether a spec's hypotheses can be estimated from what it declares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mechshift_core.kinds import TESTS, MeasureKind, Testable, owner, testable, testables
from mechshift_core.kinds.checks import RANKS_HAVE_NO_MASS
from mechshift_core.kinds.test import OPTIONS
from mechshift_core.spec.draft import Draft
from mechshift_core.spec.hypotheses import Filter, Hypothesis
from mechshift_core.spec.pairs import TrajectorySpec
from mechshift_core.spec.problems import suggestion
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path


def check_units(draft: Draft) -> Iterator[Complaint]:
    """Every pair has the units that are random: a training seed, and prompts of its own."""
    units = draft.spec.statistics.units
    if "pairs" in draft.broken:
        return
    for position, pair in enumerate(draft.spec.pairs):
        if units.seed == "random" and pair.seed is None:
            message = f"training seeds are random (statistics.units), but pair {pair.name!r} has no `seed`"
            yield Complaint(draft.path("pairs", position), message)
        if units.template == "random" and pair.prompts == "halves":
            message = (
                "`prompts: halves` compares prompts of different templates, so templates cannot be random; use "
                "`template: fixed`"
            )
            yield Complaint((*draft.path("pairs", position), "prompts"), message)
    for position, trajectory in enumerate(draft.spec.trajectories):
        if units.seed == "random" and trajectory.seed is None:
            message = f"training seeds are random (statistics.units), but trajectory {trajectory.name!r} has no `seed`"
            yield Complaint(draft.path("trajectories", position), message)


def check_hypotheses(draft: Draft) -> Iterator[Complaint]:
    """Measures are computed, groups are not empty, tests have the options that they need and no others."""
    for position, hypothesis in enumerate(draft.spec.hypotheses):
        path = draft.path("hypotheses", position)
        yield from _measure(draft, hypothesis, path)
        yield from _test(hypothesis, (*path, "test"))
        yield from _reference(hypothesis, (*path, "test"))
        yield from _unrelated(draft, hypothesis, path)
        yield from _consistent(hypothesis, path)
        yield from _along(draft, hypothesis, path)
        yield from _groups(draft, hypothesis, path)
        yield from _budgets(draft, hypothesis, path)
        yield from _every(draft, hypothesis, path)
        yield from _witness(draft, hypothesis, path)


def _witness(draft: Draft, hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """A witness is of another hypothesis of the spec, and of one that is no witness itself."""
    wanted, place = hypothesis.witness_of, (*path, "witness_of")
    if wanted is None:
        return
    known = draft.declared["hypotheses"]
    of = next((one for one in draft.spec.hypotheses if one.id == wanted), None)
    if wanted == hypothesis.id:
        yield Complaint(place, "a hypothesis can't be a witness of itself")
    elif of is None and (wanted not in known) and (known or "hypotheses" not in draft.broken):
        yield Complaint(place, f"unknown hypothesis {wanted!r}{suggestion(wanted, known)}")
    elif of is not None and of.witness_of is not None:
        yield Complaint(place, f"{wanted!r} is a witness itself; expected the hypothesis that it is a witness of")


def _measure(draft: Draft, hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """What computes the measure is declared, and the measure can have a value."""
    place = (*path, "measure")
    one, kind = owner(hypothesis.measure)
    if isinstance(kind, MeasureKind):
        faults = [*_entry(draft, one, kind, place)]
    else:
        faults = [*_intervention(draft, one.name, kind.name, place)]
    yield from faults or one.checks(draft, hypothesis, place)


def _entry(draft: Draft, one: Testable, kind: MeasureKind[Any], place: Path) -> Iterator[Complaint]:
    """The entry of `measures`, with an index that noise alone does not move."""
    if "measures" in draft.broken:
        return
    declared = draft.spec.measures.declared.get(kind.name)
    if declared is None:
        yield Complaint(place, f"measure {one.name!r} needs measures.{kind.name}, which is not declared")
        return
    ranked = "interventions" not in draft.broken and draft.spec.ranks_edges
    if ranked and one.of_mass and kind.computes(draft.spec):
        yield Complaint(place, f"measure {one.name!r}: {RANKS_HAVE_NO_MASS}")
        return
    index = getattr(declared, "index", "")
    if index in one.noisy:
        message = (
            f"the index {index!r} is of magnitudes of mean effects, which noise alone moves: no hypothesis can be "
            f"tested with it; declare `measures: {{{kind.name}: {{index: {one.noisy[index]}}}}}` (all are tabled "
            "anyway)"
        )
        yield Complaint(place, message)


def _intervention(draft: Draft, measure: str, kind: str, place: Path) -> Iterator[Complaint]:
    """The one intervention that a measure is a result of."""
    names = [one.name for one in draft.spec.interventions if one.kind == kind]
    if "interventions" in draft.broken or len(names) == 1:
        return
    if not names:
        yield Complaint(place, f"measure {measure!r} needs an intervention of kind {kind}, which is not declared")
        return
    listed = " and ".join(map(repr, names))
    yield Complaint(place, f"measure {measure!r} is of one intervention, but {listed} are of kind {kind}: leave one")


def _test(hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """The test has the options that it needs, and no others."""
    test = hypothesis.test
    kind = TESTS[test.kind]
    name = f"{'an' if test.kind[0] in 'aeiou' else 'a'} {test.kind} test"
    for option, what in kind.required.items():
        if getattr(test, option) is None:
            yield Complaint((*path, option), f"{name} needs a {option}: {what}")
    if "margin" in kind.options and test.margin is not None and test.margin <= 0:
        yield Complaint((*path, "margin"), f"expected a margin greater than 0, got {test.margin:g}")
    if kind.sided and test.alternative == "two-sided":
        message = f"{name} needs the side that is claimed: alternative: less or greater"
        yield Complaint((*path, "alternative"), message)
    remedy = {"to": "; subtract groups with `contrast`", "margin": "; `equivalence` has one"}
    for key in OPTIONS:
        if key not in kind.options and key in test.model_fields_set and getattr(test, key) is not None:
            yield Complaint((*path, key), f"{name} has no {key!r}{remedy.get(key, '')}", on_key=True)


def _reference(hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """An equivalence is with something: zero is nothing in common for a measure of a pair, not nothing changed.

    Nor is a retention of zero what unrelated models have: its chance is that of edges (or nodes) at random.
    """
    test, measure, one = hypothesis.test, hypothesis.measure, testable(hypothesis.measure)
    kind = TESTS[test.kind]
    bounded = "bound" in kind.required
    with_zero = not kind.refers and (not bounded or (test.bound is not None and test.bound <= 0))
    trend = hypothesis.along is not None and hypothesis.along.quantity != "value"  # a difference of values
    if one.from_chance and with_zero and hypothesis.contrast is None and not trend:
        message = (
            f"{measure!r} is not tested against 0: models with nothing in common are above or below it, since edges "
            "are not exchangeable; subtract a group with `contrast`, or claim a `bound` above 0"
        )
        yield Complaint((*path, "bound" if bounded else "kind"), message)
    if not kind.refers or test.margin is None:
        return
    if test.to == "ceiling" and one.ceiling is None:
        having = [other.name for other, _ in testables() if other.ceiling is not None]
        message = f"{measure!r} has no ceiling of its own (those that have: {', '.join(having)}); name a group"
        yield Complaint((*path, "to"), message)
    if test.to is None and hypothesis.contrast is None and one.between and not trend:
        group = "{role: control}"
        remedy = "" if one.ceiling is None else f"`to: ceiling`, that is {one.ceiling:g}, or "
        message = (
            f"without `to` the test compares {measure!r} with 0, which is nothing in common: write {remedy}`to:` a "
            f"group such as {group}"
        )
        yield Complaint((*path, "kind"), message)


def _unrelated(draft: Draft, hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """Unrelated pairs have no shift."""
    if {"pairs", "trajectories"} & draft.broken or testable(hypothesis.measure).unrelated:
        return
    named = [repr(pair.name) for pair in draft.members(hypothesis) if pair.unrelated]
    if named:
        message = f"{hypothesis.measure!r} is not measured of unrelated pairs ({', '.join(named)}): leave them out"
        yield Complaint((*path, "measure"), message)


def _consistent(hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """No two of `where`, `contrast` and `to` decide the same thing."""
    contrast, test = hypothesis.contrast, hypothesis.test
    other = test.to if "to" in TESTS[test.kind].options else None
    if other is not None and contrast is not None:
        yield Complaint((*path, "test", "to"), "a hypothesis has either a contrast or 'to', not both", on_key=True)
    elif other is not None and other == hypothesis.where:
        yield Complaint((*path, "test", "to"), "'to' is the same group as 'where': nothing is compared")
    if contrast is None:
        return
    levels = contrast.of_groups
    if not levels and contrast.budgets is None:
        yield Complaint((*path, "contrast"), "expected at least one of role, pair, regime, task or budget")
    for key, (first, second) in levels.items():
        if getattr(hypothesis.where, key) is not None:
            message = f"{key!r} is in both where and contrast: one of them decides it"
            yield Complaint((*path, "contrast", key), message, on_key=True)
        if first == second:
            yield Complaint((*path, "contrast", key), f"a contrast of {first!r} with itself is zero")


def _along(draft: Draft, hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """A claim about trajectories names no pairs, one about pairs no trajectories, and its place is on all of them."""
    along, contrast, test = hypothesis.along, hypothesis.contrast, hypothesis.test
    named = [(hypothesis.where, (*path, "where")), (contrast, (*path, "contrast")), (test.to, (*path, "test", "to"))]
    key = "trajectory" if along is None else "pair"
    for group, place in named:
        if getattr(group, key, None) is not None:
            remedy = "`along` says what of a trajectory is meant" if along is None else "`trajectory` names one"
            about = "pairs" if along is None else "trajectories"
            yield Complaint((*place, key), f"the claim is about {about}, not a {key}; {remedy}", on_key=True)
    if along is None:
        return
    place = (*path, "along")
    if testable(hypothesis.measure).derived:
        message = f"{hypothesis.measure!r} is computed of the declared pairs together, not along trajectories"
        yield Complaint((*path, "measure"), message)
    if test.to == "ceiling":
        yield Complaint((*path, "test", "to"), "a trajectory has no ceiling; claim a `bound`, or a difference")
    if (along.at is None) != (along.quantity == "trend"):
        needs = "has no 'at': it is of the whole way" if along.quantity == "trend" else "needs the place: 'at'"
        yield Complaint((*place, "at") if along.at is not None else place, f"{along.quantity!r} {needs}", on_key=True)
    kind = testable(hypothesis.measure)
    if along.against == "last" and along.quantity != "value" and not (kind.between or kind.distance):
        message = (
            f"{hypothesis.measure!r} is a shift: that to the last model is what is left of the whole one, so that its "
            f"{along.quantity} has the opposite sign of the measure's own; write `against: first`"
        )
        yield Complaint((*place, "against"), message)
    for one in _trajectories_of(draft, hypothesis):
        between = testable(hypothesis.measure).between  # a model with itself is no point of it
        places = one.at[1:] if between and along.against == "first" else one.at[:-1] if between else one.at
        if along.at is not None and not places[0] <= along.at <= places[-1]:
            message = f"{along.at:g} is not on {one.name!r}, where it goes from {places[0]:g} to {places[-1]:g}"
            yield Complaint((*place, "at"), message)
        if along.against not in one.ends:
            message = f"{one.name!r} is compared with its {one.against} model only (`against`)"
            yield Complaint((*place, "against") if "against" in along.model_fields_set else place, message)


def _trajectories_of(draft: Draft, hypothesis: Hypothesis) -> list[TrajectorySpec]:
    """The trajectories that a hypothesis is about, each once."""
    if "trajectories" in draft.broken:
        return []
    groups = (group for _, group in hypothesis.groups())
    return list(dict.fromkeys(one for group in groups for one, _ in draft.spec.trajectories_of(group)))


def _groups(draft: Draft, hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """Every group has at least one pair and one task."""
    if {"pairs", "trajectories", "tasks"} & draft.broken:
        return
    faults = [*_unmatched(draft, hypothesis, hypothesis.where, (*path, "where"))]
    if isinstance(hypothesis.test.to, Filter):
        faults += _unmatched(draft, hypothesis, hypothesis.test.to, (*path, "test", "to"))
    for key, levels in (hypothesis.contrast.of_groups if hypothesis.contrast else {}).items():
        for index, level in enumerate(levels):
            faults += _absent(draft, hypothesis, key, level, (*path, "contrast", key, index))
    yield from faults
    if faults:
        return
    for _, group in hypothesis.groups():
        if not draft.spec.members(hypothesis, group):
            place = "contrast" if hypothesis.contrast is not None else "where"
            yield Complaint((*path, place), f"no {_member(hypothesis)} and task with {_words(group)}", on_key=True)
            return


def _budgets(draft: Draft, hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """Budgets that are compared are two of those that the spec has."""
    compared, place = hypothesis.budgets, (*path, "contrast", "budget")
    if not compared or "denoising" in draft.broken:
        return
    known = draft.spec.denoising.budgets
    for index, name in enumerate(compared):
        if name not in known:
            hint = suggestion(name, known) or f" (of this spec: {', '.join(known)})"
            yield Complaint((*place, index), f"unknown inference budget {name!r}{hint}")
    if compared[0] == compared[1]:
        yield Complaint(place, f"a contrast of {compared[0]!r} with itself is zero")


def _every(draft: Draft, hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """A claim on every task or regime has several of them, and no contrast between them."""
    every, contrast = hypothesis.every, hypothesis.contrast
    if every is None or {"pairs", "trajectories", "tasks"} & draft.broken:
        return
    place = (*path, "every")
    crossed = [key for key in ("regime", "task") if contrast is not None and getattr(contrast, key) is not None]
    members = draft.spec.members(hypothesis, hypothesis.where)
    levels = {getattr(task, "name" if every == "task" else every) for _, task in members}
    if crossed:
        yield Complaint(place, f"a contrast of {crossed[0]}s is one number: there is none in every {every}")
    elif len(levels) == 1:
        message = (
            f"expected several {every}s to hold in, but the hypothesis is on one, {next(iter(levels))!r}: leave it out"
        )
        yield Complaint(place, message)
    else:
        for level in sorted(levels):
            if not all(draft.spec.members(hypothesis, group) for _, group in hypothesis.part(every, level).groups()):
                yield Complaint(place, f"not estimable: in {every} {level!r} a group has no pair and task")


def _unmatched(draft: Draft, hypothesis: Hypothesis, group: Filter, path: Path) -> list[Complaint]:
    """What a filter names that the spec has not, or else that nothing has all of it."""
    faults = [
        fault
        for key, level in group.model_dump(exclude_none=True).items()
        for fault in _absent(draft, hypothesis, key, level, (*path, key))
    ]
    if not faults and not draft.spec.members(hypothesis, group):
        named = _words(group)
        message = f"no {_member(hypothesis)} and task" + (f" with {named}" if named else "")
        faults = [Complaint(path, message, on_key=True)]
    return faults


def _absent(draft: Draft, hypothesis: Hypothesis, key: str, level: str, path: Path) -> Iterator[Complaint]:
    """A level that no pair (or trajectory) or task of the spec has."""
    spec, owner = draft.spec, _member(hypothesis) if key in ("role", "pair", "trajectory") else "task"
    if key in ("pair", "trajectory") and key != owner:
        return  # said already
    entries: Iterable[object] = {"pair": spec.pairs, "trajectory": spec.trajectories, "task": spec.tasks}[owner]
    present = [getattr(entry, "name" if key == owner else key) for entry in entries]
    if level in present:
        return
    if key == owner:
        yield Complaint(path, f"unknown {owner} {level!r}{suggestion(level, present)}")
    else:
        yield Complaint(path, f"not estimable: no {owner} has the {key} {level!r}")


def _member(hypothesis: Hypothesis) -> str:
    return "pair" if hypothesis.along is None else "trajectory"


def _words(group: Filter) -> str:
    return ", ".join(f"{key} {level!r}" for key, level in group.model_dump(exclude_none=True).items())
