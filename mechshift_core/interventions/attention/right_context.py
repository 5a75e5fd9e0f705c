"""How much the tokens of a prompt look at what stands on their right: the measure `right_context`.

The mean over all heads and over all visible tokens, of the prompt and of what is revealed of the answer, of the
attention that goes to the tokens on the right of each; masks do not count as tokens that look, but may be looked at.
Both models of a pair have the same visible tokens. A causal model has exactly 0; a head of a bidirectional one that
spreads its attention evenly has the share of what it sees that is on the right, about one half.

It is not taken from the position read alone (whose rows the table `attention` has), since that is the last token of
most prompts: on its right are then nothing but the masks of the answer, on the bundled tasks mostly a single one, and
what it looks at there says little about context. A token amid the prompt has context on both sides.

Tokens are counted by role, as the cells have them. Where an example is read in several states of its completion, the
tokens of a role count as many times as there are of them on average, with the attention that they pay on average.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Results
from mechshift_core.analysis.paired import paired_shift
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.spec import Spec
from mechshift_core.tasks.roles import MASK
from stats.findings import Estimate

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class ToTheRight:
    """Attention to the right of one model.

    Attributes:
        mass: On each example, [n]; `even`: the same of attention that is spread evenly over all that a token sees.
    """

    mass: Floats
    even: Floats

    @property
    def causal(self) -> bool:
        """Whether no token sees anything on its right."""
        return not self.even.any()


def attention_to_the_right(stored: Stored, examples: npt.NDArray[np.int64]) -> ToTheRight:
    """Of a stored attention, on some examples."""
    looking = [at for at, role in enumerate(stored.description["roles"], start=1) if role != MASK]
    number = stored.tensors["queries"][looking][:, examples].astype(np.float64)
    share = number / np.maximum(number.sum(axis=0), 1)
    mass = stored.tensors["mass"][:, :, looking, -1][..., examples].astype(np.float64).mean(axis=(0, 1))
    even = stored.tensors["uniform"][looking, -1][:, examples].astype(np.float64)
    return ToTheRight((share * mass).sum(axis=0), (share * even).sum(axis=0))


def measure_right_context(sample: Sample, spec: Spec, intervention: str, results: Results) -> Measured:
    """Estimates of `right_context` and its shift, prompt by prompt; or why there is none."""
    failed = [f"{side}: {stored}" for side, stored in results.items() if isinstance(stored, str)]
    if failed or sample.too_few:
        return Measured(problems={"right_context": "; ".join(failed) or sample.too_few})
    found = {
        side: attention_to_the_right(stored, sample.ids(side))
        for side, stored in results.items()
        if isinstance(stored, Stored)
    }
    if all(one.causal for one in found.values()):
        names = " nor ".join(repr(side.model) for _, side in sample.sides)
        reason = f"neither {names} sees anything on the right of a token: both are exactly 0, and there is no shift"
        return Measured(problems={"right_context": reason})
    even = {side: float(one.even.mean()) for side, one in found.items()}
    even["shift"] = even["after"] - even["before"]
    measured = paired_shift(
        sample,
        spec,
        "right_context",
        {side: one.mass for side, one in found.items()},
        references={side: {"null": null} for side, null in even.items()},
        source=intervention,
    )
    known = {side for side, one in found.items() if one.causal}
    estimates = [_exact(one) if one.side in known else one for one in measured.estimates]
    return replace(measured, estimates=tuple(estimates))


def _exact(zero: Estimate) -> Estimate:
    """The value of a causal model, which is no estimate: without an interval, and nothing to warn of."""
    return replace(zero, status="ok", message="", method=f"{zero.method.partition(':')[0]}: exact, attention is causal")
