"""Hypotheses: a measure, the pairs and tasks it is taken over, and the test that decides."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from mechshift_core.spec.base import Name, Regime, Role, Section
from mechshift_core.spec.dynamic import Made
from mechshift_core.spec.pairs import End


def measure_names() -> Any:
    """The names of everything that hypotheses can be about."""
    from mechshift_core.kinds import testables

    return Literal[tuple(one.name for one, _ in testables())]


MeasureName = Annotated[str, Made(measure_names)]


def test_names() -> Any:
    """The names of all kinds of hypothesis tests."""
    from mechshift_core.kinds import TESTS

    return Literal[tuple(TESTS)]


test_names.__test__ = False  # type: ignore[attr-defined]  # no test case of pytest


class Filter(Section):
    """Which pairs and tasks: those that agree with every key given."""

    role: Role | None = None
    """Role of the pair."""
    pair: Name | None = None
    """Name of the pair."""
    trajectory: Name | None = None
    """Name of the trajectory, where the claim is `along` one."""
    regime: Regime | None = None
    """Regime of the task."""
    task: Name | None = None
    """Name of the task."""


Budget = Annotated[int, Field(ge=1, le=1000)] | Annotated[str, Field(min_length=1, max_length=100)]


class Contrast(Section):
    """Groups to subtract: `[first, second]` means first minus second; two keys make a difference in differences."""

    role: tuple[Role, Role] | None = None
    """Two roles of pairs."""
    pair: tuple[Name, Name] | None = None
    """Two pairs."""
    trajectory: tuple[Name, Name] | None = None
    """Two trajectories, where the claim is `along` them."""
    regime: tuple[Regime, Regime] | None = None
    """Two regimes of tasks."""
    task: tuple[Name, Name] | None = None
    """Two tasks."""
    budget: tuple[Budget, Budget] | None = None
    """Two of the inference budgets of `denoising`, as the tables name them: `["step 1 of 4", "step 4 of 4"]`. Each
    pair and task is taken at both, prompt by prompt where it has one value for each."""

    @property
    def of_groups(self) -> dict[str, tuple[str, str]]:
        """The contrasts of groups of pairs and tasks: key -> both levels."""
        return self.model_dump(exclude_none=True, exclude={"budget"})

    @property
    def budgets(self) -> tuple[str, str] | None:
        """The inference budgets that are compared; None where it is done at each."""
        return None if self.budget is None else (str(self.budget[0]), str(self.budget[1]))


class Along(Section):
    """What of a trajectory a claim is about; groups are then of trajectories, and a contrast is between these."""

    quantity: Literal["trend", "value", "halfway"]
    """`trend`: the slope of the measure over the whole way, by least squares. `value`: the measure `at` a place,
    straight lines between the models. `halfway`: that value minus the mean of the values of both ends: with the sign of
    the whole change where more than half of it was made by then."""
    against: End = "first"
    """Whether the measure is of every model with the first, or with the last one."""
    at: float | None = None
    """Where on the trajectory (value, halfway), in its unit."""


class HypothesisTest(Section):
    """How the claim is decided."""

    model_config = ConfigDict(defer_build=True)

    kind: Annotated[str, Made(test_names)]
    """`difference`: from zero. `equivalence`: within the margin of zero, by two one-sided tests. `non_inferiority`: not
    lower by more than the margin. `bound`: beyond a value."""
    to: Filter | Literal["ceiling"] | None = None
    """What to subtract before an equivalence or non-inferiority test. A group, written in full: nothing is taken over
    from `where`. Or `ceiling`: 1, of a measure of the pair whose 1 is "the same". Without it (and without a contrast)
    the comparison is with zero, which is refused where zero is nothing in common."""
    margin: float | None = None
    """The largest difference that counts as none, in the units of the measure (equivalence, non-inferiority)."""
    alternative: Literal["two-sided", "less", "greater"] = "two-sided"
    """The direction that is claimed (difference, bound)."""
    bound: float | None = None
    """The value of a `bound` test."""


class Hypothesis(Section):
    """One claim; all hypotheses of a spec form one family."""

    model_config = ConfigDict(defer_build=True)

    id: Name
    """What the hypothesis is called in findings and in `--fail-on`."""
    claim: Annotated[str, Field(max_length=1000)] = ""
    """The claim in words, as it stands in the report."""
    measure: MeasureName
    """What is compared, one number per pair and task; the reference lists what each of them is and needs."""
    where: Filter = Filter()
    """The pairs and tasks that it is averaged over; all of them unless narrowed."""
    contrast: Contrast | None = None
    """Groups to subtract from each other, within `where`."""
    along: Along | None = None
    """The claim is about trajectories, and this of the measure along each of them."""
    every: Literal["task", "regime"] | None = None
    """The claim is made of each task, or regime, by itself and is supported only where it is in all of them: p is the
    largest of theirs. It is refuted where the opposite is shown in one, with p times their number. Without it the
    average over them is tested."""
    test: HypothesisTest
    """The test that decides."""
    witness_of: Name | None = None
    """The id of the hypothesis whose claim this one asks another measure about. The report says beside that claim
    whether its witnesses agree; to the family of tests it is a hypothesis like any other."""

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
        contrast = self.contrast.of_groups if self.contrast else {}
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
    def budgets(self) -> tuple[str, str] | None:
        """The inference budgets that it compares; None where it is decided at each."""
        return None if self.contrast is None else self.contrast.budgets

    @property
    def ceiling(self) -> float:
        """What the estimate is taken from besides groups: the ceiling where the test is `to` it, else 0."""
        from mechshift_core.kinds import testable

        return (testable(self.measure).ceiling or 0.0) if self.test.to == "ceiling" else 0.0
