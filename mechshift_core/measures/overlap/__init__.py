"""Overlap: what circuits share, as similarity of all edge scores and as sets of the top-K edges and their nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mechshift_core.kinds.checks import check_ascending
from mechshift_core.kinds.measure import Derived, Key, MeasureKind, Otherwise, Together
from mechshift_core.kinds.testable import Least, Testable
from mechshift_core.measures.overlap.checks import check_edges, check_inherited, check_permutations
from mechshift_core.measures.overlap.section import Overlap, TopK
from mechshift_core.measures.overlap.tables import TABLES
from stats.minimums import FEWEST_FOR_SPREAD, MINIMUM_PROMPTS

if TYPE_CHECKING:
    from mechshift_core.analysis.hypotheses import Evidence
    from mechshift_core.analysis.measured import Measured, Rows
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.translate import Complaint
    from mechshift_core.spec.tree import Path


def _measure(sample: Sample, spec: Spec) -> Measured:
    from mechshift_core.measures.overlap.overlap import measure_overlap

    return measure_overlap(sample, spec)


def _shifts(sample: Sample, spec: Spec) -> Measured:
    from mechshift_core.measures.overlap.overlap import measure_kept

    return measure_kept(sample, spec)


def _prepared(samples: Mapping[Key, Sample], spec: Spec, at_most: bool) -> dict[Key, Sample]:
    from mechshift_core.measures.overlap.half_sizes import with_half_size

    return with_half_size(samples, spec, at_most=at_most)


def _inherited(evidence: Evidence, spec: Spec, rows: Mapping[str, Rows]) -> Together:
    from mechshift_core.measures.overlap.inherited import estimates, filled, inherited, with_inherited

    found = inherited(evidence, spec)
    of_table = {"similarity": filled(rows["similarity"], found, spec)} if "similarity" in rows else {}
    return Together(with_inherited(evidence, found), of_table, estimates(found, evidence.samples, spec))


def _check(draft: Draft, own: Overlap, path: Path) -> Iterator[Complaint]:
    yield from check_ascending(own.top_k, (*path, "top_k"))
    yield from check_permutations(draft, own, path)


def _facts(own: Overlap) -> Mapping[str, object]:
    return {"top_k": own.top_k, "splits": own.splits, "permutations": own.permutations}


_OF_K = frozenset({"top_k"})
OVERLAP = MeasureKind(
    name="overlap",
    section=Overlap,
    least=Least(FEWEST_FOR_SPREAD, "for one of them in each half"),
    measure=_measure,
    shifts=_shifts,
    asked=True,
    testables=(
        Testable(
            name="similarity",
            words="similarity of mean scores",
            estimand="noise-corrected similarity of the two models' mean edge scores",
            reading="1: the same circuit but for a factor, 0: nothing in common; unrelated models have a level, too",
            scale="cosine; -1 to 1, an estimate can lie above 1",
            lower="less alike",
            higher="more alike",
            between=True,
            fewest=MINIMUM_PROMPTS,
            ceiling=1.0,
            unrelated=True,
            truth=1.0,
            noisier=1.0,
            similar=lambda own, _: own,
        ),
        Testable(
            name="inherited",
            words="inherited share of the similarity",
            estimand="similarity of mean edge scores, from that of unrelated models (0) to that of equal ones (1)",
            reading="0 is as similar as unrelated models, 1 as equal ones",
            scale="share; no bounds",
            lower="less inherited",
            higher="more inherited",
            between=True,
            fewest=MINIMUM_PROMPTS,
            ceiling=1.0,
            unrelated=True,
            derived=True,
            counted_from="unrelated",
            checks=check_inherited,
            similar=lambda own, unrelated: (own - unrelated) / (1 - unrelated),
        ),
        Testable(
            name="overlap",
            words="edge overlap",
            estimand="Jaccard overlap of the top-K edges at half of the prompts each (mean over K)",
            reading="0: no edge in common, 1: the same edges; noise in the scores lowers it (the retention index "
            "allows for that)",
            scale="Jaccard index; 0 to 1",
            lower="fewer edges shared",
            higher="more edges shared",
            between=True,
            fewest=MINIMUM_PROMPTS,
            unrelated=True,
            choices=_OF_K,
        ),
        Testable(
            name="retention",
            words="retention index",
            estimand="retention index (mean over K)",
            reading="0 is chance overlap, 1 as similar to the other model as to itself",
            scale="share of the way from chance to ceiling; no bounds",
            lower="less of the circuit kept",
            higher="more of the circuit kept",
            between=True,
            fewest=MINIMUM_PROMPTS,
            ceiling=1.0,
            from_chance=True,
            unrelated=True,
            choices=_OF_K,
            truth=1.0,
            noisier=1.0,
        ),
        Testable(
            name="node_overlap",
            words="node overlap",
            estimand="Jaccard overlap of the nodes of the top-K edges at half of the prompts each (mean over K)",
            reading="0: no head or MLP in common, 1: the same ones; large circuits have nearly all of them (the node "
            "retention index allows for that)",
            scale="Jaccard index; 0 to 1",
            lower="fewer nodes shared",
            higher="more nodes shared",
            between=True,
            fewest=MINIMUM_PROMPTS,
            unrelated=True,
            choices=_OF_K,
        ),
        Testable(
            name="node_retention",
            words="node retention index",
            estimand="retention index of the nodes of the top-K edges (mean over K)",
            reading="of heads and MLPs: 0 is chance overlap, 1 as similar to the other model as to itself",
            scale="share of the way from chance to ceiling; no bounds",
            lower="fewer nodes kept",
            higher="more nodes kept",
            between=True,
            fewest=MINIMUM_PROMPTS,
            ceiling=1.0,
            from_chance=True,
            unrelated=True,
            choices=_OF_K,
            truth=1.0,
            noisier=1.0,
        ),
    ),
    tables=TABLES,
    usual=True,
    otherwise=(
        Otherwise(
            field="top_k",
            type=TopK,
            text="Sizes K, each by itself instead of the mean over `measures.overlap.top_k`.",
            update=lambda k: {"top_k": (k,)},
            own=lambda section: section.top_k if len(section.top_k) == 1 else (),
            shown=lambda k: f"K = {k}",
        ),
    ),
    prepared=_prepared,
    derived=Derived(measure="inherited", of="similarity", compute=_inherited),
    checks=_check,
    checks_models=check_edges,
    facts=_facts,
)
