"""What both models of a pair left on the same selected prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Results
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.execution.stream import Array

READ = "(read)"
"""What the position read is called among the roles."""


@dataclass(frozen=True, eq=False, slots=True)
class Both:
    """The stored tensors of both models.

    Attributes:
        before: As a cell has them, and `after`; the examples last.
        roles: What both know: the position read, then the token roles, each with its place among the groups of the
            model before and of the model after.
    """

    before: Stored
    after: Stored
    ids: npt.NDArray[np.int64]
    roles: dict[str, tuple[int, int]]

    @property
    def hidden(self) -> tuple[int, int]:
        """Dimensions of the streams before and after."""
        return self.before.tensors["streams"].shape[2], self.after.tensors["streams"].shape[2]

    @property
    def layers(self) -> tuple[int, int]:
        """Numbers of streams before and after: the layers and one more."""
        return len(self.before.tensors["streams"]), len(self.after.tensors["streams"])

    @property
    def vocabulary(self) -> tuple[int, int]:
        """Numbers of tokens that each model predicts."""
        return len(self.before.tensors["log_probs"]), len(self.after.tensors["log_probs"])

    def present(self, role: str) -> npt.NDArray[np.int64]:
        """Which of the selected prompts have a role in both models, by number among them."""
        counts = [
            one.tensors["tokens"][place, self.ids]
            for one, place in zip((self.before, self.after), self.roles[role], strict=True)
        ]
        return np.flatnonzero((counts[0] > 0) & (counts[1] > 0))

    def streams(self, role: str) -> Iterator[tuple[Array, Array]]:
        """The streams of each layer at a role, before and after, [n, hidden] each, of the prompts that have it."""
        kept = self.ids[self.present(role)]
        first, second = self.roles[role]
        for own, other in zip(self.before.tensors["streams"], self.after.tensors["streams"], strict=True):
            yield own[first][:, kept].T.astype(np.float64), other[second][:, kept].T.astype(np.float64)

    def predictions(self) -> tuple[Array, Array]:
        """Log-probabilities before and after, [n, vocabulary] each."""
        own, other = (one.tensors["log_probs"][:, self.ids].T.astype(np.float64) for one in (self.before, self.after))
        return own, other


def both_read(sample: Sample, results: Results) -> Both | str:
    """What both models left; or why they can't be compared."""
    failed = [f"{side}: {one}" for side, one in results.items() if isinstance(one, str)]
    if failed:
        return "; ".join(failed)
    if sample.selected_after is not None:
        return "the models are read on different prompts (`prompts: halves`), and are compared on the same ones only"
    if sample.too_few:
        return sample.too_few
    before, after = results["before"], results["after"]
    assert isinstance(before, Stored) and isinstance(after, Stored)
    own, other = before.description["roles"], after.description["roles"]
    roles = {READ: (0, 0)} | {role: (1 + own.index(role), 1 + other.index(role)) for role in own if role in other}
    return Both(before, after, sample.selected, roles)


def unlike(sample: Sample, what: str, sizes: tuple[int, int]) -> str:
    """That the two models differ in a size, by name; empty where they do not."""
    if sizes[0] == sizes[1]:
        return ""
    named = " and ".join(f"{side.model!r} has {size}" for (_, side), size in zip(sample.sides, sizes, strict=True))
    return f"{what} differ: {named}"
