"""Scores with a planted mean and the study's own noise: the sign of each prompt's deviation is drawn at random.

A prompt's scores become mean + sign x factor x (its scores - the average over prompts). Their true mean over the draws
is the planted one, exactly. It has the direction of the observed average and, since that is longer by its noise, the
length that products of different prompts give; the signs are the same for both models and all pairs of a task, so that
what a prompt does to one model it still does to the other. Noise is symmetric then, whatever it is in the study.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.samples import Sample, Side
from mechshift_core.analysis.weights import cell_weights
from mechshift_core.execution.scores import EdgeScoreStore, Floats
from mechshift_core.kinds import Testable, testable, testables
from mechshift_core.spec import Hypothesis, Spec
from stats.mean_products import noise_ratio, signal_and_noise
from stats.seeding import derived_seed, generator

Wide = npt.NDArray[np.float64]
FACTOR = 2.0
"""Noise of the treatment's model after, in multiples of the model before's, where it is planted unequal."""
RELATED, UNRELATED = 0.85, 0.5
"""Similarity of planted models, of related and of unrelated pairs."""
PLANTED = (
    "Each prompt's deviation from the average scores is kept but for its sign, which is drawn at random; "
    "power is not computed."
)


@dataclass(frozen=True, slots=True)
class Planting:
    """What is planted.

    Attributes:
        name: Short name; `description` in a sentence.
        factor: Noise of the treatment's model after, in multiples of the model before's, relative to the mean scores;
            None to leave it as it is.
        apart: Whether the two means have the similarity `RELATED` (`UNRELATED`); else they are the same.
    """

    name: str
    description: str
    factor: float | None = None
    apart: bool = False

    @property
    def measures(self) -> Mapping[str, float]:
        """Measure -> its value for related pairs."""
        found = {one.name: self._of(one) for one, _ in testables()}
        return {name: value for name, value in found.items() if value is not None}

    def _of(self, one: Testable, *, unrelated: bool = False) -> float | None:
        """The value of a measure for related or unrelated pairs; None where it is not known."""
        if not self.apart:
            return one.noisier
        return None if one.similar is None else one.similar(UNRELATED if unrelated else RELATED, UNRELATED)

    def concerns(self, hypothesis: Hypothesis) -> bool:
        """Whether a hypothesis is about what is planted."""
        return hypothesis.measure in self.measures

    def similarity(self, sample: Sample) -> float:
        """Of a pair's planted means."""
        if not self.apart:
            return 1.0
        return UNRELATED if sample.pair.unrelated else RELATED

    def truth(self, spec: Spec, hypothesis: Hypothesis) -> float:
        """Value of a hypothesis' estimate."""
        one = testable(hypothesis.measure)
        own, other = (self._of(one, unrelated=unrelated) or 0.0 for unrelated in (False, True))
        weights = cell_weights(spec, hypothesis).items()
        return sum(w * (other if pair.unrelated else own) for (pair, _), w in weights) - hypothesis.ceiling


NOISIER = Planting(
    name="unequal noise",
    description=(
        f"Both models of a pair have the same mean scores, and the model after of the treatment is {FACTOR:g} times as "
        "noisy as the model before."
    ),
    factor=FACTOR,
)
LESS_IN_COMMON = Planting(
    name="known similarity",
    description=(
        f"The mean scores of the two models of a pair have the similarity {RELATED:g} ({UNRELATED:g} where they are "
        "unrelated), with the noise that they have."
    ),
    apart=True,
)


class _Planted(EdgeScoreStore):
    """Scores whose deviations from their average are scaled, and moved to another mean."""

    def __init__(self, store: EdgeScoreStore, average: Wide, mean: Wide, scale: Wide) -> None:
        self._store, self._average, self._mean, self._scale = store, average, mean, scale

    @property
    def shape(self) -> tuple[int, ...]:
        return self._store.shape

    def each(self, selected: npt.ArrayLike) -> Iterator[Floats]:
        numbers = np.asarray(selected, dtype=np.int64)
        for number, row in zip(numbers.tolist(), self._store.each(numbers), strict=True):
            yield (self._mean + self._scale[number] * (row - self._average)).astype(np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class SignFlips:
    """What data sets of a pair and task are drawn from.

    Attributes:
        sample: The study's sample.
        averages: Side -> its average scores [edges]; `means` those that are planted.
        factor: Noise of the model after, in multiples of what it is.
    """

    sample: Sample
    averages: Mapping[str, Wide]
    means: Mapping[str, Wide]
    factor: float

    @classmethod
    def of(cls, sample: Sample, planting: Planting) -> SignFlips | str:
        """The averages of a sample and the means to plant; or why there are none."""
        if sample.too_few:
            return sample.too_few
        averages = {side: one.scores.mean(sample.ids(side)) for side, one in sample.sides}
        before, after = averages.values()
        observed = [float(np.linalg.norm(one)) for one in (before, after)]
        if min(observed) == 0:
            return f"the average scores of the model {'after' if observed[0] else 'before'} are all zero"
        products = [signal_and_noise(sample.score_blocks(side))[0] for side, _ in sample.sides]
        if min(products) <= 0:
            side = "before" if products[0] <= 0 else "after"
            return f"the average scores of the model {side} are no clearer than their noise"
        lengths = [float(np.sqrt(product)) for product in products]
        similarity, direction = planting.similarity(sample), before / observed[0]
        if similarity < 1:
            across = after - (after @ direction) * direction
            if np.linalg.norm(across) <= 1e-9 * observed[1]:
                return "both models have the same average scores: there is no direction in which they could differ"
            direction = similarity * direction + np.sqrt(1 - similarity**2) * across / np.linalg.norm(across)
        factor = 1.0
        if planting.factor is not None and sample.pair.role == "treatment":
            factor = planting.factor / (noise_ratio(*(sample.score_blocks(side) for side, _ in sample.sides)) or 1.0)
        means = {"before": lengths[0] * before / observed[0], "after": lengths[1] * direction}
        return cls(sample, averages, means, factor)

    def draw(self, *, seed: int, repetition: int) -> Sample:
        """One data set; its signs follow from the seed, the repetition's number and the task."""
        own = derived_seed(seed, "signs", repetition)
        units = np.unique(self.sample.templates, return_inverse=True)[1] if self.sample.by_template else None
        count = self.sample.total if units is None else int(units.max()) + 1
        signs = generator(own, "signs", self.sample.task.name).choice([-1.0, 1.0], size=count)
        each = signs if units is None else signs[units]
        return replace(
            self.sample,
            before=self._side("before", each),
            after=self._side("after", self.factor * each),
            spec_seed=own,
            known={},
        )

    def _side(self, name: str, scale: Wide) -> Side:
        side = self.sample.side(name)
        planted = _Planted(side.scores, self.averages[name], self.means[name], scale)
        return replace(side, scores=planted, by_role=None)
