"""What hypotheses estimate, in words."""

from __future__ import annotations

from mechshift_core.analysis.integration import INDICES as INTEGRATIONS
from mechshift_core.analysis.specialization import INDICES as SPECIALIZATIONS
from mechshift_core.spec import Filter, Hypothesis, Spec
from mechshift_core.spec.sensitivity import PROMPT_MEANS
from stats.trimmed import TRIMMED_MEAN

UNITS = {
    "similarity": "noise-corrected similarity of the two models' mean edge scores",
    "inherited": "similarity of mean edge scores, from that of unrelated models (0) to that of equal ones (1)",
    "overlap": "Jaccard overlap of the top-K edges at half of the prompts each (mean over K)",
    "retention": "retention index (mean over K)",
    "node_overlap": "Jaccard overlap of the nodes of the top-K edges at half of the prompts each (mean over K)",
    "node_retention": "retention index of the nodes of the top-K edges (mean over K)",
    "depth_slope": "slope over depth of the after-minus-before shift of attribution shares",
    "early_share": "after-minus-before shift of the early layers' attribution share",
    "specialization": "after-minus-before shift of the {index} of component effects",
    "integration": "after-minus-before shift of the {index}",
    "transfer": "faithfulness of the model after under the circuit of the model before, relative to its own circuit",
    "faithfulness": "after-minus-before shift of the circuit performance ratio (CPR)",
    "alignment": "after-minus-before shift of the entropy (nats) of what components write, weighted by what they add",
    "targeted": "after-minus-before shift of the metric that the components aimed at cost, beyond random ones",
    "right_context": "after-minus-before shift of the attention of tokens to what stands on their right",
    "decision_time": "after-minus-before shift of the share of the denoising steps before the answer stays right",
}
"""Measure -> what it is in words, with the `{index}` that the spec declares."""


def location(spec: Spec, measure: str) -> str:
    """What the spec takes instead of the mean over prompts; empty where it is the mean, or the measure is none."""
    return TRIMMED_MEAN if spec.statistics.location == "trimmed" and measure in PROMPT_MEANS else ""


def estimand(spec: Spec, hypothesis: Hypothesis) -> str:
    """What the estimate of a hypothesis estimates, in one sentence."""
    positive = [_described(group) for sign, group in hypothesis.groups() if sign > 0]
    negative = [_described(group) for sign, group in hypothesis.groups() if sign < 0]
    unit = _unit(spec, hypothesis.measure)
    if location(spec, hypothesis.measure):
        unit = f"{location(spec, hypothesis.measure)} over prompts of the {unit}"
    text = f"{unit}, averaged over {' plus over '.join(positive)}"
    if hypothesis.ceiling:
        text += f", minus the ceiling {hypothesis.ceiling:g}"
    elif negative:
        text += f", minus the same over {' and over '.join(negative)}"
    return text if hypothesis.every is None else f"{text}, in every {hypothesis.every}"


def _unit(spec: Spec, measure: str) -> str:
    specialization, integration = spec.measures.specialization, spec.measures.integration
    names = {
        "specialization": specialization and SPECIALIZATIONS[specialization.index],
        "integration": integration and INTEGRATIONS[integration.index],
    }
    return UNITS[measure].format(index=names.get(measure))


def _described(group: Filter) -> str:
    parts = []
    if group.pair or group.role:
        parts.append(f"pair {group.pair}" if group.pair else f"{group.role} pairs")
    if group.task or group.regime:
        parts.append(f"task {group.task}" if group.task else f"{group.regime} tasks")
    return " on ".join(parts) if parts else "all pairs and tasks"
