"""Which measures can be taken of data sets whose truth is known, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.aa_samples import Key
from mechshift_core.analysis.derived import derived_of
from mechshift_core.analysis.measured import Measured, Results
from mechshift_core.analysis.samples import Sample
from mechshift_core.analysis.weights import cell_weights
from mechshift_core.execution.scores import Stored
from mechshift_core.kinds import INTERVENTIONS, MEASURES, Intervention, server, testables
from mechshift_core.spec import Spec


@dataclass(frozen=True, slots=True)
class Calibratable:
    """Measures that can be taken of planted data together.

    Attributes:
        name: Of the kind that computes them.
        measure: What hypotheses are tested with, of one sample; with what an intervention left of it, if one is needed.
        names: The measures that hypotheses can name.
        needs: The intervention that they are computed from, beside the edge attribution; None if there is none.
        apart: Why it can't be taken of halves of one model's prompts; empty where it can.
    """

    name: str
    measure: Callable[[Sample, Spec, Results], Measured]
    names: tuple[str, ...]
    needs: Intervention | None = None
    apart: str = ""


def truths() -> dict[str, float | None]:
    """Measure that hypotheses can name -> its value where nothing differs; None where that is not known."""
    return {one.name: one.truth for one, _ in testables() if not one.derived}


def calibratable(spec: Spec, measure: str) -> Calibratable | None:
    """How a measure is taken of planted data; None where it can't be."""
    intervention = server(spec, measure)
    if intervention is not None:
        return _of_intervention(spec, intervention)
    for kind in MEASURES.values():
        shifts = kind.shifts or kind.measure
        if shifts is not None and any(one.name == measure and not one.derived for one in kind.testables):
            names = tuple(one.name for one in kind.testables if not one.derived)
            return Calibratable(kind.name, partial(_of_scores, shifts), names)
    return None


def _of_scores(take: Callable[[Sample, Spec], Measured], sample: Sample, spec: Spec, _: Results) -> Measured:
    return take(sample, spec)


def _of_intervention(spec: Spec, intervention: Intervention) -> Calibratable:
    kind = INTERVENTIONS[intervention.kind]
    shifts = kind.shifts or kind.results
    assert shifts is not None  # a kind that serves measures has results
    names = tuple(name for name in kind.served if kind.computes(name, spec, intervention))
    return Calibratable(
        kind.name,
        lambda sample, spec, results: shifts(sample, spec, intervention, results),
        names,
        intervention,
        kind.apart,
    )


def needed(spec: Spec, *, with_unrelated: bool = False) -> dict[tuple[str, Key], Calibratable]:
    """What some hypothesis needs of which pair and task, by (kind, (pair, task)), in order.

    Args:
        with_unrelated: Whether what is computed of all pairs together is needed, too, and with it unrelated pairs.
    """
    found: dict[tuple[str, Key], Calibratable] = {}
    derived = {one.measure: one.of for one in derived_of(spec)}
    for hypothesis in spec.hypotheses:
        together = with_unrelated and hypothesis.measure in derived
        if hypothesis.along is not None or (hypothesis.measure not in truths() and not together):
            continue
        entry = calibratable(spec, derived[hypothesis.measure] if together else hypothesis.measure)
        if entry is None:
            continue
        members = list(cell_weights(spec, hypothesis))
        if together:
            tasks = dict.fromkeys(task.name for _, task in members)
            level = [(pair, task) for pair in spec.pairs if pair.unrelated for task in spec.tasks if task.name in tasks]
            members += level
        found |= {(entry.name, (pair.name, task.name)): entry for pair, task in members}
    return found


def halved(results: Results, sample: Sample) -> Results:
    """What an intervention left, of the examples on which each side of a sample is read alone.

    Only interventions whose tensors are of selected examples name them; others keep all, and are read by number.
    """
    return {side: one if isinstance(one, str) else _of(one, sample.ids(side)) for side, one in results.items()}


def _of(stored: Stored, ids: npt.NDArray[np.int64]) -> Stored:
    examples = stored.tensors.get("examples")
    if examples is None or len(examples) == 0:
        return stored
    columns = np.searchsorted(examples, ids)
    return Stored(stored.description, {name: values[..., columns] for name, values in stored.tensors.items()})


def unseen(spec: Spec, known: Sequence[str], left_out: Sequence[str] = ()) -> list[str]:
    """What no calibration of a spec can show, a sentence each.

    Args:
        spec: The spec.
        known: Measures that some data set planted.
        left_out: Hypotheses that compare inference budgets.
    """
    units, found = spec.statistics.units, []
    if left_out:
        found.append(f"Hypotheses that compare inference budgets ({', '.join(left_out)}): data sets are of the first.")
    left = sorted({hypothesis.measure for hypothesis in spec.hypotheses} - set(known))
    if left:
        found.append(f"Hypotheses on {', '.join(left)}: they could be tested on no data whose truth is known.")
    along = [one.id for one in spec.hypotheses if one.along is not None]
    if along:
        found.append(
            f"Hypotheses along trajectories ({', '.join(along)}): steps of one have no halves that differ by chance."
        )
    if spec.statistics.mixed_model is not None:
        found.append("The mixed model of layer-wise shift: its error rates were simulated apart from this study.")
    if units.seed == "random":
        found.append(
            "How much training seeds differ: halves are of one model, and planted data have the study's seeds."
        )
    if units.template == "random":
        found.append("Templates other than those of the data.")
    if spec.select.correct != "none":
        found.append("What selecting prompts by the models' answers does to an estimate.")
    return found
