"""Results as frames say what the graph says, and hold the very numbers of the arrays."""

from __future__ import annotations

import math
import re

import polars as pl
import pytest
import torch

from mechshift_core.attribution import EdgeScores, NodeScores, metric_frame, node_names
from mechshift_core.graph import Graph, Shape
from mechshift_core.interchange.scoring import CircuitScore, Measured, SizeScore
from mechshift_core.interventions.neurons.scores import NeuronScores

SHAPES = [
    Shape(layers=2, heads=2, key_value_heads=2, head_size=4, hidden_size=8),
    Shape(layers=11, heads=12, key_value_heads=3, head_size=1, hidden_size=12),
    Shape(layers=3, heads=2, key_value_heads=1, head_size=4, hidden_size=8, parallel=True),
    Shape(layers=1, heads=1, key_value_heads=1, head_size=4, hidden_size=8),
]


def edge_scores(shape: Shape, *, examples: int = 3) -> EdgeScores:
    edges = Graph.of(shape).edges
    values = torch.randn(examples, len(edges), generator=torch.Generator().manual_seed(0))
    values[:, 1] = 0.0
    metric = torch.zeros(examples)
    return EdgeScores(edges, values, metric, metric, metric.long())


def head(name: str) -> int | None:
    found = re.search(r"\.(?:h|kv)(\d+)", name)
    return int(found[1]) if found else None


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.layers}x{shape.heads}")
def test_the_names_of_edges_say_what_the_graph_says(shape: Shape) -> None:
    graph, frame = Graph.of(shape), edge_scores(shape).to_frame()
    assert frame.columns[-3:] == ["score", "se", "rank"]
    rows = zip(frame.rows(named=True), *graph.edge_index, strict=True)
    for row, source_number, receiver_number in rows:
        source, receiver = graph.sources[source_number], graph.receivers[receiver_number]
        assert (row["source"], row["target"]) == (source.name, receiver.name)
        assert row["edge"] == f"{source.name}->{receiver.name}"
        assert row["kind"] == f"{source.kind}->{receiver.kind}"
        assert (row["source_layer"], row["target_layer"]) == (source.layer, receiver.layer)
        assert (row["source_head"], row["target_head"]) == (head(source.name), head(receiver.name))


def test_means_have_their_standard_errors_and_ranks() -> None:
    scores = edge_scores(SHAPES[0])
    frame = scores.to_frame()
    for place, row in enumerate(frame.rows(named=True)):
        values = scores.values[:, place].double().tolist()
        mean = math.fsum(values) / 3
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / 2)
        assert row["score"] == pytest.approx(mean, abs=1e-12)
        assert row["se"] == pytest.approx(spread / math.sqrt(3), abs=1e-12)
    ranked = frame.sort("rank")
    assert ranked["rank"].to_list() == list(range(1, len(frame) + 1))
    assert ranked["score"].abs().is_sorted(descending=True)


def test_scores_of_zero_share_the_last_rank() -> None:
    scores = edge_scores(SHAPES[0])
    scores.values[:, 3:6] = 0.0
    frame = scores.to_frame()
    last = len(frame) - 3
    assert frame.filter(pl.col("score") == 0)["rank"].to_list() == [last] * 4
    assert frame.filter(pl.col("score") != 0)["rank"].sort().to_list() == list(range(1, last))


def test_a_single_example_has_no_standard_error() -> None:
    frame = edge_scores(SHAPES[0], examples=1).to_frame()
    assert frame["se"].null_count() == len(frame)


def test_prompts_have_a_row_for_every_edge() -> None:
    scores = edge_scores(SHAPES[0])
    frame = scores.to_frame("prompt")
    assert len(frame) == scores.values.numel()
    row = frame.filter((pl.col("edge") == "input->logits") & (pl.col("example") == 2))
    assert row["score"].to_list() == [scores.values[2, scores.edges.index("input->logits")].item()]
    assert "rank" not in frame.columns
    with pytest.raises(ValueError, match="per: expected 'mean' or 'prompt', got 'prompts' \\(did you mean 'prompt'"):
        scores.to_frame("prompts")  # type: ignore[arg-type]


def test_nodes_and_neurons() -> None:
    shape = SHAPES[0]
    names = tuple(node_names(shape))
    nodes = NodeScores(names, torch.arange(2.0 * len(names)).reshape(2, -1))
    frame = nodes.to_frame()
    found = {row["node"]: (row["kind"], row["layer"], row["head"]) for row in frame.rows(named=True)}
    assert found["input"] == ("input", -1, None)
    assert found["a1.h0"] == ("head", 1, 0)
    assert found["m1"] == ("mlp", 1, None)
    assert found["x2"] == ("residual", 2, None)
    assert frame["score"].to_list() == [number + len(names) / 2 for number in range(len(names))]
    assert repr(nodes) == f"NodeScores(2 examples x {len(names)} nodes)"

    values = torch.arange(12.0).reshape(2, 2, 3)
    neurons = NeuronScores((1, 4), values, -values, values.long() % 5)
    assert neurons.to_frame().select("layer", "neuron", "score").rows()[4] == (4, 1, 7.0)
    assert neurons.to_frame("prompt").row(11) == (4, 2, 1, 11.0, -11.0, 1)
    assert repr(neurons) == "NeuronScores(2 examples x 2 layers x 3 neurons)"


def test_metrics_of_runs() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    frame = metric_frame(values, ["all", "none"], run="circuit")
    assert frame.columns == ["circuit", "example", "metric"]
    assert frame.row(4) == ("none", 1, 5.0)
    assert metric_frame(values)["run"].to_list() == [0, 0, 0, 1, 1, 1]
    assert metric_frame(values, [39, 156])["run"].to_list() == [39, 39, 39, 156, 156, 156], "numbers sort as such"
    with pytest.raises(ValueError, match=r"names\[1\]: expected text or an integer or a finite number, got None"):
        metric_frame(values, ["all", None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="names: expected texts or numbers, not both"):
        metric_frame(values, ["all", 3])
    with pytest.raises(ValueError, match=r"names: expected one a run, 2, got 1"):
        metric_frame(values, ["all"])
    with pytest.raises(ValueError, match=r"values: expected \[runs, examples\], got \[3\]"):
        metric_frame(values[0])


def test_scored_circuits() -> None:
    def faithful(estimate: float | None, *random: float | None) -> Measured:
        known = estimate is not None
        ends = (0.1, 0.9) if known else (None, None)
        status = "ok" if known else "undefined"
        return Measured(
            estimate=estimate, low=ends[0], high=ends[1], bootstrap=None, status=status, message="", random=random
        )

    own = SizeScore(percent=None, edges=7, live_edges=6, metric=1.5, faithfulness=faithful(0.5, 0.2, None, 0.4))
    half = SizeScore(percent=50.0, edges=10, live_edges=9, metric=2.0, faithfulness=faithful(None))
    score = CircuitScore(
        edges=20, prompts=4, preferred=1.0, full=3.0, empty=0.0, circuit=own, curve=(half,), cpr=None, cmd=None
    )
    frame = score.to_frame()
    assert frame.row(0) == (None, 7, 6, 1.5, 0.5, 0.1, 0.9, "ok", pytest.approx(0.3))
    assert frame.row(1) == (50.0, 10, 9, 2.0, None, None, None, "undefined", None)
    assert repr(score) == "CircuitScore(circuit of 7 edges, 1 size of 20 edges on 4 prompts)"
