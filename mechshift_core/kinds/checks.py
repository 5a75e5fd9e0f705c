"""Checks that several kinds share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mechshift_core.spec.problems import suggestion
from mechshift_core.spec.translate import Complaint

if TYPE_CHECKING:
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.hypotheses import Hypothesis
    from mechshift_core.spec.tree import Path


def check_ascending(sizes: Sequence[float], path: Path) -> Iterator[Complaint]:
    """Every size is larger than the one before."""
    for position, (smaller, larger) in enumerate(itertools.pairwise(sizes), start=1):
        if larger <= smaller:
            what = f"duplicate size {larger:g}" if larger in sizes[:position] else f"{larger:g} after {smaller:g}"
            yield Complaint((*path, position), f"sizes must ascend: {what}")


def check_of(draft: Draft, name: str, path: Path) -> Iterator[Complaint]:
    """A name is that of an edge attribution of the spec."""
    from mechshift_core.kinds import attributes

    attributions = [one.name for one in draft.spec.interventions if attributes(one)]
    declared = draft.declared["interventions"]
    if name not in declared:
        yield Complaint(path, f"unknown intervention {name!r}{suggestion(name, attributions or declared)}")
    elif name not in attributions and "interventions" not in draft.broken:
        yield Complaint(path, f"{name!r} is no edge_attribution")


def check_read_alike(draft: Draft, hypothesis: Hypothesis, path: Path) -> Iterator[Complaint]:
    """Both models of every pair are read at the same token, before the answer or at its own place."""
    if {"models", "pairs", "trajectories", "tasks"} & draft.broken:
        return
    models = draft.spec.models
    apart = [
        repr(pair.name)
        for pair in draft.members(hypothesis)
        if pair.before in models
        and pair.after in models
        and models[pair.before].reads_before != models[pair.after].reads_before
    ]
    if apart:
        message = (
            f"measure {hypothesis.measure!r} would compare different tokens in {' and '.join(apart)}: one model is "
            "read at the token before the answer, the other (`shifted: false`) at the answer's own place; leave such "
            "pairs out by `where`"
        )
        yield Complaint(path, message)


RANKS_HAVE_NO_MASS = (
    "edges are scored by ranks, which have no mass: the shares of layers and components are those of their numbers of "
    "edges; take one method of attribution for it"
)
"""Why nothing of shares of the attribution is measured (:attr:`.Testable.of_mass`)."""
