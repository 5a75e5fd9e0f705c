"""Whether the two models of a pair are read at the same token.

An autoregressive model, and a diffusion model that was adapted from one (`shifted: true`), predicts a token at the
position before it; other diffusion models predict it at its own position, where the mask stands. What is predicted is
the same token, so that predictions can be compared. What the models have at the position read is not: one has read a
token of the prompt there, the other the mask.
"""

from __future__ import annotations

from mechshift_core.analysis.samples import Sample
from mechshift_core.spec import Spec


def read_apart(sample: Sample, spec: Spec) -> str:
    """Why nothing at the position read is compared between the models of a pair; empty where it can be."""
    before, after = (spec.models[side.model].reads_before for _, side in sample.sides)
    if before == after:
        return ""
    first, second = (repr(side.model) for _, side in sample.sides)
    earlier, own = (first, second) if before else (second, first)
    return (
        f"the models are read at different tokens: {earlier} at the token before the answer, {own} (`shifted: false`) "
        "at the answer's own place"
    )
