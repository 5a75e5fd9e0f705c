"""How many selected prompts each measure needs, and what it comes to with fewer, or where its computation fails.

Everything that is measured of a pair and a task goes through :func:`taken`, so that none can forget either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mechshift_core.analysis.measured import Measured, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.spec import Spec
from mechshift_core.spec.hypotheses import BETWEEN
from stats.minimums import FEWEST_FOR_FOLDS, FEWEST_FOR_SPREAD, FEWEST_IN_HALF


@dataclass(frozen=True, slots=True)
class Least:
    """The least number of selected prompts, and what they are needed for."""

    prompts: int
    why: str


_SPREAD = Least(FEWEST_FOR_SPREAD, "for a spread over prompts")
_ANY = Least(1, "for a mean")
_FOLDS = Least(FEWEST_FOR_FOLDS, "for two of them in each half")
LEAST: Mapping[str, Least] = {
    "overlap": Least(FEWEST_FOR_SPREAD, "for one of them in each half"),
    "depth": _SPREAD,
    "specialization": _SPREAD,
    "integration": _SPREAD,
    "activation_patching": _ANY,
    "ablation": _ANY,
    "targeted_ablation": _FOLDS,
    "probe": _ANY,
    "neurons": Least(2 * FEWEST_IN_HALF, f"for {FEWEST_IN_HALF} of them in each half"),
    "attention": _ANY,
    "circuit_patching": _FOLDS,
    "circuit_transfer": _FOLDS,
    "logit_lens": _ANY,
}
"""Name in a spec's `measures`, or kind of an intervention -> what it needs. Intervals need more: `stats.minimums`."""
NO_SHIFTS = (*BETWEEN, "neuron_overlap")
"""Measures of a pair that are no shift."""


def lacking(name: str, sample: Sample) -> str:
    """Why there are too few prompts for a measure or an intervention; empty where there are enough."""
    least = LEAST[name]
    if sample.n >= least.prompts:
        return ""
    return f"{sample.selection}; at least {least.prompts} are needed {least.why}"


def taken(name: str, names: Iterable[str], sample: Sample, spec: Spec, take: Callable[[str], Measured]) -> Measured:
    """What a measure or an intervention comes to; with a reason, never an error, where it comes to nothing.

    Args:
        name: Its name in `LEAST`.
        names: The measures that hypotheses can name of it.
        take: Computes it, given why there are too few prompts (empty where there are enough).
    """
    try:
        return take(lacking(name, sample))
    except Exception as error:
        reason = described(error)
        return nothing(sample, spec, names, reason, failed=f"{name} of {_where(sample)}: {reason}")


def nothing(sample: Sample, spec: Spec, names: Iterable[str], reason: str, *, failed: str = "") -> Measured:
    """Measures that have no value, each with the reason; `failed` where their computation did."""
    listed = tuple(names)
    found = tuple(
        estimate(
            sample,
            spec,
            measure=measure,
            side="between" if measure in NO_SHIFTS else "shift",
            value=None,
            low=None,
            high=None,
            method="none",
            status="failed" if failed else "undefined",
            message=reason,
        )
        for measure in listed
    )
    return Measured(estimates=found, problems=dict.fromkeys(listed, reason), failed=failed)


def described(error: Exception) -> str:
    """An error in one line, with its kind where that is not one of a wrong value."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def _where(sample: Sample) -> str:
    return f"{sample.pair.name} on {sample.task.name} ({sample.reading.budget})"
