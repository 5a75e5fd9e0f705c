"""Whether a spec asks for as many bootstrap replicates as its confidence needs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mechshift_core.kinds import is_two_sided
from mechshift_core.minimums import TAIL_REPLICATES, fewest_replicates, smallest_p
from mechshift_core.spec.draft import Draft
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path


def check_draws(draft: Draft) -> Iterator[Complaint]:
    """Enough replicates for the ends of intervals and for tests by their quantiles."""
    if "statistics" in draft.broken:
        return
    statistics = draft.spec.statistics
    bootstrap, confidence = statistics.bootstrap, statistics.confidence
    needed = fewest_replicates(confidence)
    own = "replicates" in bootstrap.model_fields_set
    place: Path = ("statistics", "bootstrap", "replicates") if own else ("statistics", "confidence")
    if bootstrap.replicates < needed:
        message = (
            f"expected at least {needed} replicates for a confidence of {confidence:g} (2 / (1 - confidence)), got "
            f"{bootstrap.replicates}: the ends of an interval would be the extreme replicates"
        )
        yield Complaint(place, message)
    elif {"hypotheses", "sensitivity"} & draft.broken == set():
        yield from _tests_by_quantiles(draft, place)


def _tests_by_quantiles(draft: Draft, place: Path) -> Iterator[Complaint]:
    """Tests by the quantiles of replicates have enough of them to reach the level after the correction."""
    spec = draft.spec
    statistics, replicates = spec.statistics, spec.statistics.bootstrap.replicates
    if statistics.units.seed == "random":  # they rest on standard errors over prompts and seeds
        return
    if not spec.hypotheses or "percentile" not in (statistics.bootstrap.method, *spec.sensitivity.interval):
        return
    if replicates < TAIL_REPLICATES:
        message = f"expected at least {TAIL_REPLICATES} replicates for tests by their quantiles, got {replicates}"
        yield Complaint(place, message)
        return
    level = 1 - statistics.confidence
    family = len(spec.hypotheses) if statistics.correction == "holm" else 1
    two_sided = any(is_two_sided(one.test.kind, one.test.alternative) for one in spec.hypotheses)
    smallest = smallest_p(replicates, two_sided=two_sided, family=family)
    if smallest > level + 1e-12:
        needed = math.ceil(round((2 if two_sided else 1) * family / level, 6)) - 1
        message = (
            f"with {replicates} replicates no test by their quantiles can reach the level {level:.3g}: the smallest p "
            f"is {smallest:.3g} after the correction over {family} hypotheses; at least {needed} are needed"
        )
        yield Complaint(place, message)
