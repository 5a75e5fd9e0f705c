"""The section of a spec for alignment."""

from __future__ import annotations

from typing import Literal

from mechshift_core.spec.base import Section


class Alignment(Section):
    """How sharply components write the answer in output space."""

    index: Literal["entropy"] = "entropy"
    """`entropy`: entropy of the distribution that a component's output projects to, in nats, averaged over heads and
    MLPs by what each adds to the answer's logit; it needs an intervention of kind `logit_lens`."""
