"""A measure on existing cells: how much of the attribution is written by MLPs, rather than by heads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.extending import Least, Measured, MeasureKind, Sample, Section, Spec, Testable, paired_shift


class MlpShare(Section):
    """How much of the attribution is written by MLPs, rather than by heads."""

    early_only: bool = False
    """Whether only the first half of the layers counts."""


def share_of_mlps(sample: Sample, side: str, settings: MlpShare) -> npt.NDArray[np.float64]:
    """Share of the magnitudes of all scores that is of edges from MLPs, one number a prompt, [n]."""
    scores = np.abs(sample.scores(side))  # [n, edges]
    source, _ = sample.graph.edge_index
    nodes = sample.graph.sources
    layers = 1 + max(node.layer for node in nodes)
    counted = [node.layer < layers / 2 or not settings.early_only for node in nodes]
    mlps = np.array([node.kind == "mlp" and count for node, count in zip(nodes, counted, strict=True)])
    share: npt.NDArray[np.float64] = scores[:, mlps[source]].sum(axis=1) / scores.sum(axis=1)
    return share


def measure(sample: Sample, spec: Spec) -> Measured:
    """Both models' shares, and the shift, prompt by prompt, as hypotheses are tested with it."""
    settings = spec.measures.of(MlpShare)
    assert settings is not None
    values = {side: share_of_mlps(sample, side, settings) for side, _ in sample.sides}
    return paired_shift(sample, spec, "mlp_share", values)


KINDS = [
    MeasureKind(
        name="mlp_share",
        section=MlpShare,
        least=Least(2, "for a spread over prompts"),
        measure=measure,
        testables=(
            Testable(
                name="mlp_share",
                words="share of the MLPs",
                estimand="after-minus-before shift of the share of the attribution that MLPs write",
                reading="higher: MLPs write more of the attribution, heads less",
                scale="shift of a share; -1 to 1",
                per_prompt=True,
                choices=frozenset({"location"}),
                truth=0.0,
            ),
        ),
    )
]
