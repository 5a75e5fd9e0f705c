"""Which models are compared: pairs, and trajectories of models in order, which come to pairs."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mechshift_core.spec.base import Name, Role, Section, Seed

FEWEST_POINTS = 3
"""Models of a trajectory; two are a pair."""
MOST_POINTS = 100
"""Far beyond any study: n models come to 2 n - 3 pairs."""
MOST_TRAJECTORIES = 20
End = Literal["first", "last"]


class PairSpec(Section):
    """Two models to compare: before and after post-training."""

    name: Name
    """What the pair is called in tables."""
    before: Name
    """The model before post-training."""
    after: Name
    """The model after it."""
    role: Role
    """`treatment`: post-trained in the way that the study asks about (into a diffusion model, on instructions, ...);
    `control`: trained on for as long with the objective of the model before;
    `unrelated`: of the same shape, but trained from another start (another seed's model): the level from which
    `inherited` counts. Of these only similarity, overlap and retention (of edges and nodes) are measured, and groups
    of hypotheses leave them out unless they name them, by role or pair."""
    seed: Seed | None = None
    """Training seed; pairs of the same seed share the model before."""
    prompts: Literal["same", "halves"] = "same"
    """`same`: both models are read on the same prompts. `halves`: on two random halves of the selected ones, so that
    even a model compared with itself differs by sampling (A/A data); not to be contrasted with pairs read on all."""

    @property
    def unrelated(self) -> bool:
        """Whether the models share nothing but their shape, so that there is no shift from one to the other."""
        return self.role == "unrelated"

    @property
    def judged(self) -> tuple[str, ...]:
        """The models whose answers select the prompts."""
        return self.before, self.after

    @property
    def along(self) -> str:
        """The trajectory that the pair is a step of; empty where the spec declares it."""
        return ""


class StepPair(PairSpec):
    """A model of a trajectory with its first or last one; no spec declares it."""

    name: str  # with an `@`, which no declared name has
    trajectory: str
    """Name of the trajectory."""
    answering: tuple[str, ...]
    """The models whose answers select the prompts of every step."""

    @property
    def judged(self) -> tuple[str, ...]:
        """The models whose answers select the prompts."""
        return self.answering

    @property
    def along(self) -> str:
        """The trajectory that the pair is a step of."""
        return self.trajectory


class TrajectorySpec(Section):
    """Models of one training in order: every measure along the way, each model against the first and the last."""

    name: Name
    """What the trajectory is called in tables."""
    models: Annotated[tuple[Name, ...], Field(min_length=FEWEST_POINTS, max_length=MOST_POINTS)]
    """The models from the first to the last, at least three (two are a pair)."""
    at: Annotated[tuple[float, ...], Field(max_length=MOST_POINTS)]
    """Where each of them stands: steps of training, tokens, stages; in increasing order."""
    unit: Annotated[str, Field(min_length=1, max_length=40)] = "steps"
    """What `at` counts, for the axis."""
    role: Literal["treatment", "control"]
    """As of a pair: `treatment` or `control`."""
    seed: Seed | None = None
    """Training seed; trajectories of the same seed share their first model."""
    select: Literal["all", "ends"] = "all"
    """Whose answers select the prompts, by the rule of `select`; one set of prompts for all models, so that a trend is
    none of the selection. `all`: every model's (`correct: both` is then: all of them are right). `ends`: those of the
    first and the last, where a model between them does not do the task yet."""
    against: Literal["both"] | End = "both"
    """What each model is compared with: the `first`, the `last`, or `both`."""

    @model_validator(mode="after")
    def _in_order(self) -> TrajectorySpec:
        if len(self.at) != len(self.models):
            text = "expected a place in 'at' for each of {models} models, got {places}"
            raise PydanticCustomError("places", text, {"models": len(self.models), "places": len(self.at)})
        twice = next((name for name in self.models if self.models.count(name) > 1), None)
        if twice is not None:
            text = "expected distinct models, but '{name}' is in it {count} times"
            raise PydanticCustomError("distinct", text, {"name": twice, "count": self.models.count(twice)})
        for (first, second), (before, after) in zip(pairwise(self.models), pairwise(self.at), strict=True):
            if after <= before:
                text = "expected 'at' in increasing order, but '{second}' at {after} comes behind '{first}' at {before}"
                places = {"first": first, "second": second, "before": f"{before:.15g}", "after": f"{after:.15g}"}
                raise PydanticCustomError("order", text, places)
        return self

    @property
    def answering(self) -> tuple[str, ...]:
        """The models whose answers select the prompts, the first of all first."""
        return self.models if self.select == "all" else (self.models[0], self.models[-1])

    @property
    def ends(self) -> tuple[End, ...]:
        """What each model is compared with."""
        return ("first", "last") if self.against == "both" else (self.against,)

    def pair(self, number: int, against: End) -> StepPair | None:
        """A model with the first, or the last, of the trajectory; None for that one itself."""
        other = 0 if against == "first" else len(self.models) - 1
        if number == other:
            return None
        first, last = sorted((number, other))
        return StepPair(
            name=f"{self.name}@{self._named(first)}-{self._named(last)}",
            before=self.models[first],
            after=self.models[last],
            role=self.role,
            seed=self.seed,
            trajectory=self.name,
            answering=self.answering,
        )

    def pairs(self) -> tuple[StepPair, ...]:
        """All that are compared, each once: n models are 2 n - 3 pairs, or n - 1 against one end."""
        found = (self.pair(number, end) for end in self.ends for number in range(len(self.models)))
        return tuple({one.name: one for one in found if one is not None}.values())

    def _named(self, number: int) -> str:
        return {0: "first", len(self.models) - 1: "last"}.get(number, f"{self.at[number]:.15g}")
