"""The JSON of a graph as EAP-IG writes it, which is also MIB's `importances.json`.

`{"cfg": {...}, "nodes": {...}, "edges": {...}}`. `cfg` has `n_layers`, `n_heads`, `parallel_attn_mlp` and `d_model`.
Nodes are `input`, `a{l}.h{h}`, `m{l}` and `logits`, each with `in_graph`. Edges are named as ours are, each with
`score` and `in_graph`. Its models are ungrouped (`ungroup_grouped_query_attention` of TransformerLens): where query
heads share keys and values there is an edge for every query head. Scores are of a loss, so that a positive one means
what it does here: corrupting the edge lowers the metric.

MIB reads the same file. It makes circuits of all sizes from the scores itself and does not look at `in_graph`; a file
that is one circuit may have no scores.

Source: `Graph.to_json` and `from_json` of hannamw/EAP-IG (src/eap/graph.py); `circuits/ioi-eap-ig.json` and
run_evaluation.py of hannamw/MIB-circuit-track.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import UsageError
from mechshift_core.graph import Graph, Shape
from mechshift_core.interchange.circuit import ScoredCircuit, checked_shape, components_of
from mechshift_core.interchange.edges import EdgeReader, finite, whole
from mechshift_core.interchange.json_text import mapping
from mechshift_core.wording import clip, describe

CONFIG = ("n_layers", "n_heads", "d_model")
EDGES_ONLY = "circuits of edges are read here"


def to_text(circuit: ScoredCircuit) -> str:
    """A circuit as the text of such a file; shared key/value heads are taken apart (see `ScoredCircuit.apart`).

    Raises:
        UsageError: if the hidden size, which the format asks for, is not known.
    """
    whole_graph = circuit.apart()
    shape, used = whole_graph.shape, components_of(circuit)
    if not shape.hidden_size:
        raise UsageError("the hidden size of the model (d_model) is not known, and EAP-IG reads no graph without it")
    scores = np.zeros(len(whole_graph.graph.edges)) if whole_graph.scores is None else whole_graph.scores
    member = np.zeros(len(scores), dtype=bool) if whole_graph.member is None else whole_graph.member
    content = {
        "cfg": {
            "n_layers": shape.layers,
            "n_heads": shape.heads,
            "parallel_attn_mlp": shape.parallel,
            "d_model": shape.hidden_size,
        },
        "nodes": {
            **{source.name: {"in_graph": source.name in used} for source in whole_graph.graph.sources},
            "logits": {"in_graph": True},
        },
        "edges": {
            whole_graph.graph.edges[number]: {"score": float(scores[number]), "in_graph": bool(member[number])}
            for number in _their_order(whole_graph.graph, shape)
        },
    }
    return json.dumps(content, allow_nan=False)


def from_data(path: object, data: dict[str, Any]) -> ScoredCircuit:
    """Such a file's data as a circuit.

    Raises:
        UsageError: saying where something else was expected.
    """
    where = f"{path}: cfg"
    config = mapping(where, data.get("cfg"), "the sizes of the model")
    sizes = whole(where, config, CONFIG)
    parallel = config.get("parallel_attn_mlp")
    if not isinstance(parallel, bool):
        raise UsageError(f"{where}: expected true or false as 'parallel_attn_mlp', got {describe(parallel)}")
    heads = sizes["n_heads"]
    shape = checked_shape(
        where, layers=sizes["n_layers"], heads=heads, key_value_heads=heads, parallel=parallel,
        hidden_size=sizes["d_model"], head_size=0,
    )  # fmt: skip
    by_node = _check_nodes(path, mapping(f"{path}: nodes", data.get("nodes", {}), "a mapping of nodes"), shape)
    reader = EdgeReader(path, shape)
    for name, entry in mapping(f"{path}: edges", data.get("edges"), "a mapping of edges").items():
        fields = mapping(f"{path}: edge {clip(name)!r}", entry, "a mapping with 'score' and 'in_graph'")
        if "score" in fields and fields["score"] is None:
            raise UsageError(f"{path}: edge {clip(name)!r}: expected a finite number as score, got nothing")
        reader.add(name, fields.get("score"), fields.get("in_graph"))
    if by_node and not (np.nan_to_num(reader.scores).any() or reader.member.any()):
        raise UsageError(
            f"{path}: only nodes have scores, edges have none; {EDGES_ONLY}. In EAP-IG, "
            "`graph.apply_topn(n, level='node')` before `to_json` marks the edges of a circuit of nodes"
        )
    scores, member, notes = reader.finish()
    left = ("scores of nodes are left aside",) if by_node else ()
    return ScoredCircuit(shape=shape, scores=scores, member=member, notes=(*notes, *left))


def _check_nodes(path: object, nodes: dict[str, Any], shape: Shape) -> bool:
    """Whether nodes have scores; neurons are refused."""
    known = {source.name for source in Graph.of(shape).sources} | {"logits"}
    scored = False
    for name, entry in nodes.items():
        if name not in known:
            raise UsageError(
                f"{path}: {clip(name)!r} is no node of its graph ({shape.layers} layers with {shape.heads} heads)"
            )
        fields = entry if isinstance(entry, dict) else {}
        if "neurons" in fields or "neurons_scores" in fields:
            raise UsageError(f"{path}: node {name!r} has neurons; {EDGES_ONLY}, and no circuits of neurons")
        scored = scored or finite(fields.get("score")) is not None
    return scored


def _their_order(graph: Graph, shape: Shape) -> npt.NDArray[np.int64]:
    """Numbers of the edges in the order in which EAP-IG adds them: by layer, then heads before MLP, then source."""
    source, receiver = graph.edge_index
    kinds = [one.kind for one in graph.receivers]
    layer = np.array([one.layer for one in graph.receivers])[receiver]
    mlp = np.array([kind == "mlp" for kind in kinds])[receiver]
    role = np.array(["qkv".find(kind) for kind in kinds])[receiver]
    numbers = [one.name.partition(".h")[2].partition("<")[0] or "0" for one in graph.receivers]
    head = np.array([int(number) for number in numbers])[receiver]
    return np.lexsort((role, head, mlp, source, np.zeros_like(mlp) if shape.parallel else mlp, layer))
