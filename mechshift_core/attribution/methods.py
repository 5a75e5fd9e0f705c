"""The methods of edge attribution, by name, and their options.

Methods differ only in where, and by which rules, the gradient is taken:

- `eap`: on the clean run;
- `eap-ig`: mean over the input embeddings `corrupt + alpha (clean - corrupt)`, by a quadrature rule over alpha (Hanna
  et al. 2024, arXiv 2403.17806);
- `eap-ig-activations`: the input, the heads of each layer and each MLP in turn are put on such a path, in a run that is
  clean otherwise; mean over all these runs, as in the reference implementation of EAP-IG;
- `eap-ig-sources`: the same runs, but an edge's gradient is taken only where its own source is on the path: integrated
  gradients of the metric as a function of what that source (with the other heads of its layer) writes;
- `clean-corrupted`: mean of the clean and the corrupted run;
- `expected-gradients`: at a random point of the path of `eap-ig`, another for each example and draw: unbiased for its
  integral at the cost of one run (Erion et al. 2021, arXiv 1906.10670);
- `gim`, `relp`: on the clean run, by other backward rules, see :mod:`mechshift_core.attribution.rules`;
- `rank-average`: mean of the signed ranks that several of these give an edge;
- `exact`: no gradient; the change of minus the metric when only that edge is patched with its corrupted value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.method_names import AttributionMethod
from mechshift_core.options import Count, Seed, check_option, checked

Method = AttributionMethod
Quadrature = Literal["left", "midpoint", "gauss-legendre"]
ON_PATH = ("eap-ig", "eap-ig-activations", "eap-ig-sources")
"""Methods with `steps` and a `quadrature`."""
WITHOUT_ROLES = ("rank-average", "exact")
"""Methods whose scores are no sum over positions."""
CORRUPTED, CLEAN = 0.0, 1.0
Path = list[tuple[float, float]]
"""(alpha, weight) of each step; alpha is 0 at the corrupted input, 1 at the clean one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """A method with its options, see :func:`mechshift_core.attribution.attribute_edges`.

    Raises:
        ValueError: for an option that is not known or out of range, or members that can't be averaged.
    """

    method: Method = "eap-ig"
    steps: int = 5
    quadrature: Quadrature = "midpoint"
    draws: int = 1
    seed: int = 0
    methods: tuple[Method, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in (
            ("method", Method), ("steps", Count), ("quadrature", Quadrature), ("draws", Count), ("seed", Seed),
        ):  # fmt: skip
            check_option(name, getattr(self, name), kind)
        for member in self.methods:
            check_option("methods", member, Method)
        if self.method != "rank-average":
            return
        wrong = [member for member in self.methods if member in WITHOUT_ROLES]
        if wrong:
            raise ValueError(f"methods: the ranks of gradient methods are averaged; {wrong[0]!r} is none")
        if len(set(self.methods)) < max(2, len(self.methods)):
            raise ValueError(f"methods: expected two or more different ones, got {list(self.methods)}")

    @property
    def at_once(self) -> int:
        """Passes of one example that go through the model together."""
        return {"eap-ig": self.steps, "clean-corrupted": 2}.get(self.method, 1)

    def member(self, method: Method) -> Scoring:
        """One of the methods whose ranks are averaged, with the same options."""
        return Scoring(method=method, steps=self.steps, quadrature=self.quadrature, draws=self.draws, seed=self.seed)

    def path(self) -> Path:
        """See :func:`integration_path`."""
        return integration_path(self.method, steps=self.steps, quadrature=self.quadrature)


@checked
def integration_path(method: Method, *, steps: Count, quadrature: Quadrature) -> Path:
    """(alpha, weight) of the runs on which a method takes its gradients; alpha is 0 at the corrupted input.

    `left` is alpha = k/m for k = 0..m-1, as in the reference implementation since February 2025.

    Raises:
        ValueError: for an option that is not known or out of range, or a method without a fixed path.
    """
    if method in ("exact", "rank-average"):
        raise ValueError(f"the method {method!r} takes no gradients")
    if method == "expected-gradients":
        raise ValueError("the method 'expected-gradients' draws its points: see random_points")
    if method == "clean-corrupted":
        return [(CORRUPTED, 0.5), (CLEAN, 0.5)]
    if method not in ON_PATH:
        return [(CLEAN, 1.0)]
    if quadrature == "left":
        return [(k / steps, 1 / steps) for k in range(steps)]
    if quadrature == "midpoint":
        return [((k + 0.5) / steps, 1 / steps) for k in range(steps)]
    nodes: npt.NDArray[np.float64]
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return [((node + 1) / 2, weight / 2) for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)]


def random_points(batch: CounterfactualBatch, draws: int, seed: int) -> Tensor:
    """alpha of every draw and example, uniform from 0 to 1, float64, [draws, examples].

    Drawn by the seed and the example's own tokens, padding left out: so the points of an example do not depend on which
    others are in its batch, and examples that are equal share theirs.
    """
    assert isinstance(batch.position, Tensor)
    present = batch.present
    points = np.empty((draws, len(batch)))
    for row in range(len(batch)):
        kept = present[row]
        clean, corrupt = (ids[row][kept].tolist() for ids in (batch.clean_ids, batch.corrupt_ids))
        place = int(kept[: int(batch.position[row])].sum())
        digest = hashlib.sha256(f"{seed} {clean} {corrupt} {place}".encode()).digest()
        points[:, row] = np.random.default_rng(np.frombuffer(digest, dtype="<u4")).random(draws)
    return torch.from_numpy(points)


def signed_ranks(values: Tensor) -> Tensor:
    """Ranks of magnitudes within each row with the sign of the value, over the number of edges, [examples, edges].

    1 is the largest magnitude and 1/edges the smallest; equal ones share their mean rank, and 0 stays 0.
    """
    magnitude = values.abs()
    edges = magnitude.shape[1]
    ordered, order = magnitude.sort(dim=1)
    places = torch.arange(edges, dtype=torch.float64, device=values.device)
    ranks = torch.empty(magnitude.shape, dtype=torch.float64, device=values.device)
    for row in range(len(magnitude)):
        _, group, counts = torch.unique_consecutive(ordered[row], return_inverse=True, return_counts=True)
        total = torch.zeros(len(counts), dtype=torch.float64, device=values.device).index_add_(0, group, places + 1)
        ranks[row, order[row]] = (total / counts)[group]
    return (ranks / edges * values.sign()).to(values.dtype)


def mean_of_ranks(members: Sequence[Tensor]) -> Tensor:
    """Mean over methods of :func:`signed_ranks`, [examples, edges]."""
    return torch.stack([signed_ranks(values) for values in members]).mean(0)
