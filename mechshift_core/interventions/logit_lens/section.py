"""The section of a spec for the logit lens."""

from __future__ import annotations

from typing import Literal

from mechshift_core.kinds.section import Intervention


class LogitLens(Intervention):
    """What each component's output says about the answer, projected to the vocabulary: the logit lens of every residual
    stream, head and MLP, what each adds to the answer's logit, and when the answer is decided over denoising steps."""

    kind: Literal["logit_lens"]
    """`logit_lens`."""
