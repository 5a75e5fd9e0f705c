"""Shapley interactions where there are too many components for every combination: a sample, and a regression.

The estimates are those of KernelSHAP-IQ (Fumagalli, Muschalik, Kolpaczki, Huellermeier & Hammer 2024) as the library
shapiq has it, in the variant that fits the interactions of all orders at once. It leaves out what is of higher order
than asked for, which costs less than the noise of the consistent variant (see the benchmarks). With a quarter of the
combinations of 12 components, Shapley values are off by a hundredth of their size, pairs by a tenth where triples are
fitted too, and triples by a third to a half. The sample holds for all examples, so that intervals over examples do not
contain its error.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Booleans, Floats, as_floats
from stats.options import Count, Seed, checked
from stats.shapley import Interactions, sets_up_to


@checked
def sampled_combinations(components: Count, *, order: Count, budget: Count, seed: Seed = 0) -> Booleans:
    """Which components are knocked out in each combination of a sample [at most budget, components].

    All and none are among them.

    Args:
        components: Number of components.
        order: Size of the largest sets whose interactions are to be estimated.
        budget: Number of combinations.
        seed: Seed of the analysis.

    Raises:
        ValueError: if a number is not positive, or `order` is larger than the number of components.
        ModuleNotFoundError: if shapiq is not installed.
    """
    asked: list[Booleans] = []

    def record(intact: Booleans) -> Floats:
        asked.append(intact.astype(bool))
        return np.zeros(len(intact))

    _approximate(record, components, order=order, budget=budget, seed=seed)
    return np.asarray(~np.concatenate(asked))


@checked
def estimated_interactions(
    metric: ArrayLike, knocked_out: ArrayLike, *, order: Count, budget: Count, seed: Seed = 0
) -> Interactions:
    """Shapley values and interactions of up to `order` components, estimated on every example.

    Args:
        metric: Metric of each combination of the sample [n, combinations].
        knocked_out: The sample, from :func:`sampled_combinations` with the same order, budget and seed
            [combinations, components].
        order: Size of the largest sets.
        budget: Number of combinations that was asked for.
        seed: Seed of the analysis.

    Raises:
        ValueError: if shapes do not match, a number is not finite, or the sample is another one.
        ModuleNotFoundError: if shapiq is not installed.
    """
    found = as_floats(metric, "metric", dimensions=2)
    sample = np.asarray(knocked_out, dtype=bool)
    if sample.ndim != 2 or len(sample) != found.shape[1]:
        raise ValueError(f"knocked_out: expected [{found.shape[1]}, components], got {list(sample.shape)}")
    components = sample.shape[1]
    sets = sets_up_to(components, order)
    values = np.empty((len(found), len(sets)))
    for row, of_example in zip(values, found, strict=True):
        start = 0

        def answer(intact: Booleans, of_example: Floats = of_example) -> Floats:
            nonlocal start
            part = slice(start, start + len(intact))
            if not np.array_equal(~intact.astype(bool), sample[part]):
                raise ValueError("knocked_out: expected the sample of this order, budget and seed, got another one")
            start += len(intact)
            return of_example[part]

        row[:] = _approximate(answer, components, order=order, budget=budget, seed=seed)
    return Interactions(sets, values)


def _approximate(game: object, components: int, *, order: int, budget: int, seed: int) -> list[float]:
    """The estimates of all sets, as :func:`sets_up_to` lists them; `game` answers for the components left intact."""
    sets = sets_up_to(components, order)
    shapiq = _shapiq()
    regression = shapiq.InconsistentKernelSHAPIQ(n=components, max_order=order, index="SII", random_state=seed % 2**32)
    found = regression.approximate(budget=budget, game=game)
    return [float(found[one]) for one in sets]


def _shapiq() -> ModuleType:
    try:
        import shapiq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a sample of the combinations needs shapiq, which is not installed: pip install 'shapiq>=1.4'"
        ) from error
    return shapiq
