"""How faithful a circuit is, whoever found it: f(C) = (m(C) - m(empty)) / (m(full) - m(empty)).

See `stats.faithfulness`. Beside it stand random circuits with as many edges from each layer to each layer. If there are
scores, circuits of their strongest edges are run at several sizes, for CPR and CMD. Nothing is held out here: a circuit
that was chosen on the same prompts looks better than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.interchange.circuit import Bools, Floats, ScoredCircuit
from mechshift_core.interchange.evaluated import fitted, metrics_of
from mechshift_core.metrics import metric_named
from mechshift_core.options import Count, Seed, checked_as
from stats.faithfulness import FaithfulnessCurve, RatioEstimate, faithfulness_curve
from stats.faithfulness_bootstrap import Ends, bootstrap_faithfulness
from stats.options import Range, Share
from stats.seeding import generator

if TYPE_CHECKING:
    import polars as pl

    from mechshift_core.attribution.ablation import Ablation
    from mechshift_core.models import Model
    from mechshift_core.progress import Progress
    from mechshift_core.tasks.counterfactual import Dataset

Whole: TypeAlias = Annotated[int, Range(words="an integer >= 0", low=0)]
SIZES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Sizes of the circuits of a curve, in percent of the edges, as MIB has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A number with its intervals over prompts, and the same of random circuits.

    Attributes:
        low: Lower end of the linearised interval (`high`: upper end), None where `status` is not `ok`.
        bootstrap: Ends of the percentile bootstrap interval.
        random: The number of each random circuit, or of each curve of such.
    """

    estimate: float | None
    low: float | None
    high: float | None
    bootstrap: Ends | None
    status: str
    message: str
    random: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeScore:
    """A circuit: its faithfulness, and its size.

    Attributes:
        percent: The size asked for, in percent of the edges; None for the circuit of the file.
        edges: Its edges.
        live_edges: Those that lie on a path from the input to the logits.
        metric: Mean of the metric under it.
    """

    percent: float | None
    edges: int
    live_edges: int
    metric: float
    faithfulness: Measured


class _Row(NamedTuple):
    """A circuit in the frame of a score."""

    percent: Any
    edges: Any
    live_edges: Any
    metric: Any
    faithfulness: Any
    low: Any
    high: Any
    status: Any
    random: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitScore:
    """What became of a circuit.

    Attributes:
        edges: Edges of its graph.
        prompts: Prompts that it was run on.
        preferred: Share of them on which the whole model prefers the answer to its foil; None where the metric does not
            say so.
        full: Mean of the metric of the whole model; `empty` of the empty circuit.
        circuit: The circuit of the file; None where it has only scores.
        curve: Circuits of its strongest edges by size; empty where it has no scores. `cpr` and `cmd` are of these.
    """

    edges: int
    prompts: int
    preferred: float | None
    full: float
    empty: float
    circuit: SizeScore | None
    curve: tuple[SizeScore, ...]
    cpr: Measured | None
    cmd: Measured | None

    def __repr__(self) -> str:
        own = "" if self.circuit is None else f"circuit of {self.circuit.edges:,} edges, "
        sizes = f"{len(self.curve)} size{'s' * (len(self.curve) != 1)}"
        return f"CircuitScore({own}{sizes} of {self.edges:,} edges on {self.prompts} prompts)"

    def to_frame(self) -> pl.DataFrame:
        """The circuits as a polars frame: that of the file first, whose `percent` is null, then those of the curve.

        Returns:
            Columns `percent`, `edges`, `live_edges`, `metric`, `faithfulness` with `low`, `high` and `status`, and
            `random`, the mean faithfulness of the random circuits that have one.
        """
        import polars as pl

        real, whole = pl.Float64, pl.Int64
        kinds = _Row(real, whole, whole, real, real, real, real, pl.String, real)
        rows = []
        for one in [*([self.circuit] if self.circuit else []), *self.curve]:
            drawn = [value for value in one.faithfulness.random if value is not None]
            own = one.faithfulness
            about = (one.percent, one.edges, one.live_edges, one.metric, own.estimate, own.low, own.high, own.status)
            rows.append(_Row(*about, sum(drawn) / len(drawn) if drawn else None))
        return pl.DataFrame(rows, schema=kinds._asdict(), orient="row")

    @property
    def undefined(self) -> str:
        """Why there is no faithfulness; empty where there is."""
        found = [self.circuit.faithfulness] if self.circuit else [one.faithfulness for one in self.curve]
        return found[0].message if found and found[0].status == "undefined" else ""


@checked_as(UsageError)
def score_circuit(
    circuit: ScoredCircuit,
    model: Model,
    dataset: Dataset,
    *,
    ablation: Ablation = "counterfactual",
    selection: Literal["top", "greedy"] = "top",
    random: Whole = 5,
    sizes: Sequence[float] = SIZES,
    confidence: Share = 0.95,
    replicates: Count = 2000,
    seed: Seed = 0,
    rows: Count | None = None,
    progress: Progress | None = None,
) -> CircuitScore:
    """Run a model with only a circuit intact, and circuits of its strongest edges by size.

    Args:
        circuit: A circuit, scores, or both, of the model's graph or of that with a key/value head a query head.
        model: A loaded model.
        dataset: Prompts as it reads them.
        ablation: What the edges outside of a circuit carry.
        selection: Which edges make the circuits of the curve: those of the largest magnitude (`top`), or those among
            them that lead to the logits (`greedy`).
        random: Random circuits beside each.
        sizes: Of the circuits of the curve, in percent of the edges.
        confidence: Of the intervals.
        replicates: Of the bootstrap.
        seed: Seed of random circuits, the bootstrap and the ablation `resample`.
        rows: Circuits times prompts that go through the model at once; as many as fit into memory unless given.
        progress: Called with what is being done, steps done, steps in all.

    Raises:
        UsageError: if the circuit is of another graph, or an option is out of range.
        ExecutionError: if a metric is not finite, or the ablation can't be taken over these prompts.
    """
    from mechshift_core.attribution.selection import prune, random_like

    read, graph = fitted(circuit, model), circuit.graph
    found = _circuits(circuit, selection, sizes)
    if not dataset.examples:
        raise ExecutionError(f"{dataset.task}: there are no prompts")
    likes = [
        [random_like(graph, one, generator(seed, "random circuits", place, draw)) for draw in range(random)]
        for place, (_, one) in enumerate(found)
    ]
    whole, nothing = np.ones(len(graph.edges), dtype=bool), np.zeros(len(graph.edges), dtype=bool)
    every = [whole, nothing, *(one for _, one in found), *(one for group in likes for one in group)]
    metric = metrics_of(read, dataset, every, ablation=ablation, seed=seed, rows=rows, progress=progress)
    full, empty, own, drawn = metric[0], metric[1], metric[2 : 2 + len(found)], metric[2 + len(found) :]
    by_draw = drawn.reshape(len(found), random, len(full))
    numbers = _Numbers(full, empty, confidence, replicates, seed)

    def scored(place: int) -> SizeScore:
        percent, one = found[place]
        return SizeScore(
            percent=percent,
            edges=int(one.sum()),
            live_edges=int(prune(graph, one).sum()),
            metric=float(own[place].mean()),
            faithfulness=numbers.faithfulness(own[place], by_draw[place]),
        )

    first = 0 if circuit.member is None else 1
    places = range(first, len(found))
    fractions = np.array([found[place][1].sum() for place in places]) / len(graph.edges)
    cpr, cmd = numbers.areas(own[first:], by_draw[first:], fractions) if len(places) else (None, None)
    return CircuitScore(
        edges=len(graph.edges),
        prompts=len(full),
        preferred=float((full > 0).mean()) if metric_named(dataset.metric).indifferent_at_zero else None,
        full=float(full.mean()),
        empty=float(empty.mean()),
        circuit=scored(0) if first else None,
        curve=tuple(map(scored, places)),
        cpr=cpr,
        cmd=cmd,
    )


def _circuits(
    circuit: ScoredCircuit, selection: Literal["top", "greedy"], sizes: Sequence[float]
) -> list[tuple[float | None, Bools]]:
    """The circuit of the file, then those of its scores, each size once: (percent asked for, edges)."""
    from mechshift_core.attribution.selection import circuit_sizes, greedy_order, scored_prefix, top_edges

    found: list[tuple[float | None, Bools]] = [] if circuit.member is None else [(None, circuit.member)]
    if circuit.scores is None or not circuit.scores.any() or not len(sizes):
        return found
    try:
        wanted = circuit_sizes(sorted(sizes), len(circuit.graph.edges))
    except ValueError as error:
        raise UsageError(f"sizes: {error}") from error
    order = greedy_order(circuit.graph, circuit.scores, max(wanted, default=0)) if selection == "greedy" else None
    seen: set[int] = set()
    for percent, size in zip(sorted(sizes), wanted, strict=True):
        if order is None:
            member = top_edges(circuit.scores, size)
        else:
            member = np.zeros(len(circuit.graph.edges), dtype=bool)
            member[scored_prefix(order, circuit.scores, size)] = True
        edges = int(member.sum())
        if edges and edges not in seen:
            seen.add(edges)
            found.append((percent, member))
    return found


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What faithfulness is made of: the metric of the whole model and of the empty circuit [examples]."""

    full: Floats
    empty: Floats
    confidence: float
    replicates: int
    seed: int

    def faithfulness(self, own: Floats, random: Floats) -> Measured:
        """Of one circuit [examples], and of random ones [draws, examples]."""
        curve = self._curve(own[None], np.array([1.0]))
        ends = bootstrap_faithfulness(
            own[None], full=self.full, empty=self.empty, confidence=self.confidence, replicates=self.replicates,
            seed=self.seed,
        ).faithfulness[0]  # fmt: skip
        drawn = [self._curve(one[None], np.array([1.0])).faithfulness[0].estimate for one in random]
        return _measured(curve.faithfulness[0], ends, drawn)

    def areas(self, own: Floats, random: Floats, fractions: Floats) -> tuple[Measured, Measured]:
        """CPR and CMD of a curve [sizes, examples], and of curves of random circuits [sizes, draws, examples]."""
        curve = self._curve(own, fractions)
        ends = bootstrap_faithfulness(
            own, full=self.full, empty=self.empty, fractions=fractions, confidence=self.confidence,
            replicates=self.replicates, seed=self.seed,
        )  # fmt: skip
        drawn = [self._curve(random[:, draw], fractions) for draw in range(random.shape[1])]
        cpr = _measured(curve.cpr, ends.cpr, [one.cpr.estimate for one in drawn])
        return cpr, _measured(curve.cmd, ends.cmd, [one.cmd.estimate for one in drawn])

    def _curve(self, circuits: Floats, fractions: Floats) -> FaithfulnessCurve:
        return faithfulness_curve(
            circuits, full=self.full, empty=self.empty, fractions=fractions, confidence=self.confidence
        )


def _measured(value: RatioEstimate, ends: Ends | None, random: Sequence[float | None]) -> Measured:
    return Measured(
        estimate=value.estimate,
        low=value.low,
        high=value.high,
        bootstrap=ends if value.estimate is not None else None,
        status=value.status,
        message=value.message,
        random=tuple(random),
    )
