"""Hypotheses: a measure, the pairs and tasks it is taken over, and the test that decides."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.spec.base import Name, Regime, Role, Section

MeasureName = Literal[
    "similarity",
    "inherited",
    "overlap",
    "retention",
    "node_overlap",
    "node_retention",
    "depth_slope",
    "early_share",
    "specialization",
    "integration",
    "alignment",
    "transfer",
    "faithfulness",
    "targeted",
    "right_context",
    "decision_time",
    "selectivity",
]

CEILINGS: dict[str, float] = {
    "similarity": 1.0,
    "inherited": 1.0,
    "retention": 1.0,
    "node_retention": 1.0,
    "transfer": 1.0,
}
"""Measure of a pair that is no shift -> its value for two models that are alike (`to: ceiling`)."""
BETWEEN = ("overlap", "node_overlap", *CEILINGS)
"""Measures of a pair that are no shift: zero is nothing in common, not nothing changed."""

INTERVENTION_NEEDS = {
    "transfer": "circuit_transfer",
    "faithfulness": "circuit_patching",
    "targeted": "targeted_ablation",
    "right_context": "attention",
    "decision_time": "logit_lens",
}
"""Measure of a hypothesis -> the kind of intervention that it is a result of."""


class Filter(Section):
    """Which pairs and tasks: those that agree with every key given."""

    role: Role | None = None
    """Role of the pair."""
    pair: Name | None = None
    """Name of the pair."""
    regime: Regime | None = None
    """Regime of the task."""
    task: Name | None = None
    """Name of the task."""


class Contrast(Section):
    """Groups to subtract: `[first, second]` means first minus second; two keys make a difference in differences."""

    role: tuple[Role, Role] | None = None
    """Two roles of pairs."""
    pair: tuple[Name, Name] | None = None
    """Two pairs."""
    regime: tuple[Regime, Regime] | None = None
    """Two regimes of tasks."""
    task: tuple[Name, Name] | None = None
    """Two tasks."""


class HypothesisTest(Section):
    """How the claim is decided."""

    kind: Literal["difference", "equivalence", "non_inferiority", "bound"]
    """`difference`: from zero. `equivalence`: within the margin of zero, by two one-sided tests. `non_inferiority`: not
    lower by more than the margin. `bound`: beyond a value."""
    to: Filter | Literal["ceiling"] | None = None
    """What to subtract before an equivalence or non-inferiority test. A group, written in full: nothing is taken over
    from `where`. Or `ceiling`: 1, of a measure of the pair whose 1 is "the same" (`similarity`, `inherited`,
    `retention`, `node_retention`, `transfer`). Without it (and without a contrast) the comparison is with zero, which
    is refused where zero is nothing in common."""
    margin: float | None = None
    """The largest difference that counts as none, in the units of the measure (equivalence, non-inferiority)."""
    alternative: Literal["two-sided", "less", "greater"] = "two-sided"
    """The direction that is claimed (difference, bound)."""
    bound: float | None = None
    """The value of a `bound` test."""


class Hypothesis(Section):
    """One claim; all hypotheses of a spec form one family."""

    id: Name
    """What the hypothesis is called in findings and in `--fail-on`."""
    claim: Annotated[str, Field(max_length=1000)] = ""
    """The claim in words, as it stands in the report."""
    measure: MeasureName
    """What is compared, one number per pair and task. `similarity` is the cosine of the two models' mean scores of all
    edges, corrected for the noise of both. `inherited` is where it lies between that of `unrelated` pairs on the same
    task (0) and 1. `overlap` is the Jaccard overlap itself, which no noise ceiling
    sets in proportion: prefer `retention`. `node_overlap` and `node_retention` are the same of the heads and MLPs that
    these edges touch. `transfer` needs one `circuit_transfer`: the faithfulness of the model after
    under the circuit of the model before, relative to that of its own. `faithfulness` needs one `circuit_patching`: the
    after-minus-before shift of the area under the curve of faithfulness over circuit size (CPR). The last
    three are shifts of a mean over prompts: `targeted`, with one `targeted_ablation`, of what losing the components
    aimed at costs beyond random ones, in units of the task's metric; `right_context`, with one `attention`, of the
    attention of tokens to what stands on their right; `decision_time`, with one `logit_lens` and several denoising
    steps, of the share of the steps before the answer stays right."""
    where: Filter = Filter()
    """The pairs and tasks that it is averaged over; all of them unless narrowed."""
    contrast: Contrast | None = None
    """Groups to subtract from each other, within `where`."""
    every: Literal["task", "regime"] | None = None
    """The claim is made of each task, or regime, by itself and is supported only where it is in all of them: p is the
    largest of theirs. It is refuted where the opposite is shown in one, with p times their number. Without it the
    average over them is tested."""
    test: HypothesisTest
    """The test that decides."""

    def part(self, key: Literal["task", "regime"], level: str) -> Hypothesis:
        """The same claim on one task or regime alone; where `to` names another, that stays."""
        to = self.test.to
        own: dict[str, object] = {key: level}
        where = self.where.model_copy(update=own)
        other = to.model_copy(update=own) if isinstance(to, Filter) and getattr(to, key) is None else to
        test = self.test.model_copy(update={"to": other})
        return self.model_copy(update={"where": where, "test": test, "every": None})

    def groups(self) -> tuple[tuple[float, Filter], ...]:
        """The groups that the estimand is made of, with their signs.

        The estimate is the sum over groups of sign times the group's mean: one group without a contrast, two for one
        contrast key, four for two (a difference in differences), and the group `to` subtracted where the test has one.
        """
        contrast = self.contrast.model_dump(exclude_none=True) if self.contrast else {}
        levels = [((1.0, key, first), (-1.0, key, second)) for key, (first, second) in contrast.items()]
        found = []
        for chosen in itertools.product(*levels):
            sign = 1.0
            for step, _, _ in chosen:
                sign *= step
            found.append((sign, self.where.model_copy(update={key: level for _, key, level in chosen})))
        if isinstance(self.test.to, Filter):
            found.append((-1.0, self.test.to))
        return tuple(found)

    @property
    def ceiling(self) -> float:
        """What the estimate is taken from besides groups: the ceiling where the test is `to` it, else 0."""
        return CEILINGS.get(self.measure, 0.0) if self.test.to == "ceiling" else 0.0
