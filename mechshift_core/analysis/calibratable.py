"""Which measures can be taken of data sets whose truth is known, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.aa_samples import Key
from mechshift_core.analysis.circuits import measure_performance, measure_transfer
from mechshift_core.analysis.component_graph import measure_graph_shift
from mechshift_core.analysis.depth import measure_depth_shifts
from mechshift_core.analysis.hypotheses import cell_weights
from mechshift_core.analysis.integration import measure_interaction_shift, serving
from mechshift_core.analysis.lens import measure_lens_shift
from mechshift_core.analysis.measured import Measured, Results
from mechshift_core.analysis.overlap import measure_kept
from mechshift_core.analysis.right_context import measure_right_context
from mechshift_core.analysis.samples import Sample
from mechshift_core.analysis.specialization import measure_specialization_shift
from mechshift_core.analysis.targeted import measure_targeted_shift
from mechshift_core.execution.scores import Stored
from mechshift_core.spec import Spec
from mechshift_core.spec.interventions import (
    Attention,
    CircuitPatching,
    CircuitTransfer,
    Intervention,
    LogitLens,
    TargetedAblation,
)


@dataclass(frozen=True, slots=True)
class Calibratable:
    """Measures that can be taken of planted data together.

    Attributes:
        measure: What hypotheses are tested with, of one sample; with what an intervention left of it, if one is needed.
        truths: Measure that hypotheses can name -> its value where nothing differs; None where that is not known.
        needs: The intervention of a spec that they are computed from, beside the edge attribution; None if there is
            none.
        apart: Why it can't be taken of halves of one model's prompts; empty where it can.
    """

    measure: Callable[[Sample, Spec, Results], Measured]
    truths: Mapping[str, float | None]
    needs: Callable[[Spec], Intervention | None] = lambda _: None
    apart: str = ""


def _knocked_out(spec: Spec) -> Intervention | None:
    return serving(spec, spec.measures.integration.index if spec.measures.integration else "")


def _measure_integration(sample: Sample, spec: Spec, results: Results) -> Measured:
    return measure_interaction_shift(sample, spec, results) if _knocked_out(spec) else measure_graph_shift(sample, spec)


def _of_kind(kind: type[Intervention]) -> Callable[[Spec], Intervention | None]:
    return lambda spec: next((one for one in spec.interventions if isinstance(one, kind)), None)


def _by_intervention(
    measure: Callable[[Sample, Spec, Intervention, Results], Measured], name: str, kind: type[Intervention], **more: str
) -> Calibratable:
    needs = _of_kind(kind)

    def taken(sample: Sample, spec: Spec, results: Results) -> Measured:
        intervention = needs(spec)
        assert intervention is not None
        return measure(sample, spec, intervention, results)

    return Calibratable(taken, {name: None if more else 0.0}, needs, **more)


CALIBRATABLE: dict[str, Calibratable] = {
    # As similar to the other half as to itself.
    "overlap": Calibratable(
        lambda sample, spec, _: measure_kept(sample, spec),
        {"similarity": 1.0, "retention": 1.0, "node_retention": 1.0, "overlap": None, "node_overlap": None},
    ),
    "depth": Calibratable(
        lambda sample, spec, _: measure_depth_shifts(sample, spec), {"depth_slope": 0.0, "early_share": 0.0}
    ),
    "specialization": Calibratable(
        lambda sample, spec, _: measure_specialization_shift(sample, spec), {"specialization": 0.0}
    ),
    "integration": Calibratable(_measure_integration, {"integration": 0.0}, _knocked_out),
    "alignment": Calibratable(partial(measure_lens_shift, "alignment"), {"alignment": 0.0}, _of_kind(LogitLens)),
    "decision_time": Calibratable(
        partial(measure_lens_shift, "decision_time"), {"decision_time": 0.0}, _of_kind(LogitLens)
    ),
    "right_context": Calibratable(
        lambda sample, spec, results: measure_right_context(sample, spec, "", results),
        {"right_context": 0.0},
        _of_kind(Attention),
    ),
    "faithfulness": _by_intervention(measure_performance, "faithfulness", CircuitPatching),
    "targeted": _by_intervention(measure_targeted_shift, "targeted", TargetedAblation),
    "transfer": _by_intervention(
        measure_transfer,
        "transfer",
        CircuitTransfer,
        apart="no run keeps the circuit of one half of a model's prompts intact on the other half",
    ),
}
"""What is measured together -> how it is taken of planted data."""
ENTRIES = {name: entry for entry, one in CALIBRATABLE.items() for name in one.truths}
"""Measure that hypotheses can name -> its entry in `CALIBRATABLE`."""
TRUTHS = {name: truth for entry in CALIBRATABLE.values() for name, truth in entry.truths.items()}
"""Measure that hypotheses can name -> its value where nothing differs; None where that is not known."""


def needed(spec: Spec, *, with_unrelated: bool = False) -> list[tuple[str, Key]]:
    """Entries of `CALIBRATABLE` with the pairs and tasks of which some hypothesis needs them, in order.

    Args:
        with_unrelated: Whether what is inherited is needed, too, and with it the similarity of unrelated pairs.
    """
    found: dict[tuple[str, Key], None] = {}
    for hypothesis in spec.hypotheses:
        inherited = with_unrelated and hypothesis.measure == "inherited"
        if hypothesis.measure not in TRUTHS and not inherited:
            continue
        entry = ENTRIES["similarity" if inherited else hypothesis.measure]
        members = list(cell_weights(spec, hypothesis))
        if inherited:
            tasks = dict.fromkeys(task.name for _, task in members)
            level = [(pair, task) for pair in spec.pairs if pair.unrelated for task in spec.tasks if task.name in tasks]
            members += level
        found |= {(entry, (pair.name, task.name)): None for pair, task in members}
    return list(found)


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


def unseen(spec: Spec, known: Sequence[str]) -> list[str]:
    """What no calibration of a spec can show, a sentence each; `known`: measures that some data set planted."""
    units, found = spec.statistics.units, []
    left = sorted({hypothesis.measure for hypothesis in spec.hypotheses} - set(known))
    if left:
        found.append(f"Hypotheses on {', '.join(left)}: they could be tested on no data whose truth is known.")
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
