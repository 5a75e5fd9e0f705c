"""The scores of a batch of examples by each method of :mod:`mechshift_core.attribution.methods`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.contraction import Contraction, written_differences
from mechshift_core.attribution.exact import exact_scores
from mechshift_core.attribution.gradients import Component, differentiate
from mechshift_core.attribution.methods import CLEAN, CORRUPTED, Path, Scoring, mean_of_ranks, random_points
from mechshift_core.attribution.record import Activations, Recording, record
from mechshift_core.attribution.ruled import RuledModules, prove_rules, ruled_modules
from mechshift_core.attribution.rules import RULES, BackwardRules
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened

PROBE = 5
"""Positions on which it is proven that rules change no value."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of a batch.

    Attributes:
        by_role: [examples, roles, edges].
        clean: The clean run; `corrupt` the corrupted one.
        draw_variance: Variance of one draw's scores over draws, [examples, edges]; None with fewer than two draws.
    """

    by_role: Tensor
    clean: Recording
    corrupt: Recording
    draw_variance: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Passes:
    """What all methods need.

    Attributes:
        batch: Examples, on the model's device.
        at_once: Steps of a path that go through the model together.
        roles: Token role of every position, [examples, positions], from 0; None sums over all positions.
        role_count: Number of token roles.
    """

    model: Model
    batch: CounterfactualBatch
    at_once: int
    roles: Tensor | None = None
    role_count: int = 1

    def ends(self) -> tuple[Recording, Recording]:
        """The clean and the corrupted run."""
        both = record(self.model, self.batch, torch.cat([self.batch.clean_ids, self.batch.corrupt_ids]))
        return both.part(slice(0, len(self.batch))), both.part(slice(len(self.batch), None))

    def differences(self, clean: Recording, corrupt: Recording) -> Tensor:
        """See :func:`written_differences`."""
        with torch.no_grad():
            return written_differences(self.model, clean.activations, corrupt.activations)

    def contraction(self, differences: Tensor) -> Contraction:
        """Where scores are summed."""
        return Contraction(self.model, self.batch, differences, self.roles, self.role_count)

    def chunks(self, path: Path) -> list[Path]:
        """A path in parts that go through the model together."""
        return [path[first : first + self.at_once] for first in range(0, len(path), self.at_once)]


def rules_of(model: Model, scoring: Scoring) -> dict[str, RuledModules]:
    """Method -> the modules that its backward rules concern, for each method with such rules.

    Raises:
        ExecutionError: for a model that they are not derived for.
    """
    methods = scoring.methods if scoring.method == "rank-average" else (scoring.method,)
    return {name: _proven(model, RULES[name]) for name in methods if name in RULES}


def score(passes: Passes, scoring: Scoring, ruled: dict[str, RuledModules]) -> Scored:
    """The scores of a batch by a method; `ruled` is of :func:`rules_of`."""
    method = scoring.method
    if method == "exact":
        scores, clean, corrupt = exact_scores(passes.model, passes.batch)
        return Scored(scores[:, None], clean, corrupt)
    if method == "expected-gradients":
        return _expected(passes, random_points(passes.batch, scoring.draws, scoring.seed))
    if method in ("eap-ig-activations", "eap-ig-sources"):
        return _over_activations(passes, scoring.path(), own=method == "eap-ig-sources")
    if method == "rank-average":
        members = [score(passes, scoring.member(member), ruled) for member in scoring.methods]
        ranks = mean_of_ranks([member.by_role[:, 0] for member in members])
        return replace(members[0], by_role=ranks[:, None], draw_variance=None)
    rules = RULES.get(method)
    if rules is None:
        return _along_path(passes, scoring.path(), None)
    with rules.applied(passes.model, ruled[method]):
        return _along_path(passes, scoring.path(), rules)


def _along_path(passes: Passes, path: Path, rules: BackwardRules | None) -> Scored:
    """Gradients along the input embeddings; a run at an end of the path is recorded where it is run."""
    model, batch = passes.model, passes.batch
    path = sorted(path, key=lambda step: step[0] not in (CORRUPTED, CLEAN))  # the ends first: see below
    chunks = passes.chunks(path)
    # A step at an end of the path is the clean or the corrupted run itself, so that it need not be run twice.
    endpoints = {alpha: number for number, (alpha, _) in enumerate(chunks[0]) if alpha in (CORRUPTED, CLEAN)}
    missing = [alpha for alpha in (CLEAN, CORRUPTED) if alpha not in endpoints]
    runs: dict[float, Recording] = {}
    if missing:
        ids = {CLEAN: batch.clean_ids, CORRUPTED: batch.corrupt_ids}
        recorded = record(model, batch, torch.cat([ids[alpha] for alpha in missing]))
        for number, alpha in enumerate(missing):
            runs[alpha] = recorded.part(slice(number * len(batch), (number + 1) * len(batch)))
    contractions: list[Contraction] = []

    def contraction(found: dict[float, Recording]) -> Contraction:
        if not contractions:
            runs.update(found)
            contractions.append(passes.contraction(passes.differences(runs[CLEAN], runs[CORRUPTED])))
        return contractions[0]

    for number, chunk in enumerate(chunks):
        differentiate(model, batch, chunk, endpoints if number == 0 else {}, contraction, rules=rules)
    return Scored(contractions[0].edges(), runs[CLEAN], runs[CORRUPTED])


def _over_activations(passes: Passes, path: Path, *, own: bool) -> Scored:
    """Gradients along the path of one component after the other; of its own edges alone, or the mean of all runs."""
    clean, corrupt = passes.ends()
    contraction = passes.contraction(passes.differences(clean, corrupt))
    components = list(_components(passes.model, clean.activations, corrupt.activations))
    share = 1.0 if own else 1 / len(components)
    weighted = [(alpha, weight * share) for alpha, weight in path]
    for sources, component in components:
        if own:
            contraction.sources = sources
        for chunk in passes.chunks(weighted):
            differentiate(passes.model, passes.batch, chunk, {}, _into(contraction), component=component)
    return Scored(contraction.edges(), clean, corrupt)


def _components(
    model: Model, clean: Activations, corrupt: Activations
) -> Iterator[tuple[tuple[int, int], Component | None]]:
    """(first, stop) of its sources, and each component; None is the input."""
    yield (0, 1), None
    for layer in range(model.shape.layers):
        first = model.shape.first_head(layer)
        after = first + model.shape.heads
        written = (_attention_written(model, layer, run.heads[layer]) for run in (clean, corrupt))
        yield (first, after), Component("heads", layer, *written)
        yield (after, after + 1), Component("mlp", layer, clean.mlps[layer], corrupt.mlps[layer])


def _attention_written(model: Model, layer: int, heads: Tensor) -> Tensor:
    """What the heads of a layer write together, and the bias, [examples, positions, hidden]."""
    with torch.no_grad():
        written = torch.einsum("bshe,hed->bsd", widened(heads), widened(model.view.output_weight(layer)))
        bias = model.view.output_bias(layer)
        return written if bias is None else written + widened(bias)


def _expected(passes: Passes, points: Tensor) -> Scored:
    """Mean over draws of the gradient at a random point of each example's path, and the variance over draws."""
    clean, corrupt = passes.ends()
    differences = passes.differences(clean, corrupt)
    mean: Tensor | None = None
    squares: Tensor | float = 0.0
    for number, alphas in enumerate(points, start=1):
        contraction = passes.contraction(differences)
        step = [(alphas.to(passes.model.device), 1.0)]
        differentiate(passes.model, passes.batch, step, {}, _into(contraction))
        drawn = contraction.edges()
        if mean is None:
            mean = drawn
            continue
        change = drawn - mean  # Welford's update
        mean = mean + change / number
        squares = squares + change.sum(1) * (drawn - mean).sum(1)
    assert mean is not None
    return Scored(mean, clean, corrupt, squares / (len(points) - 1) if isinstance(squares, Tensor) else None)


def _into(contraction: Contraction) -> Callable[[dict[float, Recording]], Contraction]:
    """What gives a contraction that is there before the passes."""
    return lambda _: contraction


def _proven(model: Model, rules: BackwardRules) -> RuledModules:
    found = ruled_modules(model, rules.name, proportional=rules.proportional)
    calls: list[None] = []
    ids = (
        torch.arange(PROBE, device=model.device)[None] % model.view.module(model.view.declaration.head).weight.shape[0]
    )
    with rules.applied(model, found, calls):
        ruled = model.logits(ids)
    prove_rules(model, rules.name, ids, ruled, len(calls))
    return found
