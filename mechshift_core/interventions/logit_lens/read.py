"""What a logit lens left of one model, on the selected examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.execution.stream import Array

Floats = npt.NDArray[np.float64]
KINDS = {"i": "input", "a": "head", "m": "mlp", "b": "bias"}


@dataclass(frozen=True, eq=False, slots=True)
class LensRead:
    """One model on the selected examples.

    Attributes:
        tensors: As a cell has them, the examples [n] last.
        names: Names of the components and `bias`; `tokens` are texts by number.
        right: Whether the most likely token is an answer, per example, step and stream, [n, S, layers + 1].
    """

    tensors: dict[str, Array]
    names: list[str]
    tokens: dict[str, str]
    right: npt.NDArray[np.bool_]

    @property
    def kinds(self) -> list[str]:
        """Kind of each component, `bias` included."""
        return [KINDS[name[0]] for name in self.names]

    def mean_of_steps(self, name: str) -> Floats:
        """A quantity of the streams, averaged over the steps of each example, [layers + 1, n]."""
        return np.asarray(self.tensors[f"stream_{name}"].astype(np.float64).sum(axis=0) / self.tensors["steps"])


def read_lens(sample: Sample, side: str, stored: Stored) -> LensRead:
    """A stored lens on the examples on which a side is read."""
    ids = sample.ids(side)
    tensors = {name: values[..., ids] for name, values in stored.tensors.items()}
    answers = [sample.dataset.examples[number].answer_ids for number in ids]
    top = np.moveaxis(tensors["stream_top"], -1, 0)
    right = np.array([np.isin(of_example, own) for of_example, own in zip(top, answers, strict=True)], dtype=bool)
    return LensRead(tensors, list(stored.description["components"]), stored.description["tokens"], right)
