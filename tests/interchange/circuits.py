"""Random architectures and circuits of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from mechshift_core.graph import Graph, Shape
from mechshift_core.interchange import ScoredCircuit


@st.composite
def shapes(draw: st.DrawFn, *, shared: bool | None = None) -> Shape:
    key_value_heads = draw(st.integers(1, 3))
    group = draw(st.integers(2, 3) if shared else st.just(1) if shared is False else st.integers(1, 3))
    heads = key_value_heads * group
    return Shape(draw(st.integers(1, 3)), heads, key_value_heads, 4, 4 * heads, draw(st.booleans()))


@st.composite
def circuits(draw: st.DrawFn, *, shared: bool | None = None) -> ScoredCircuit:
    shape = draw(shapes(shared=shared))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    edges = len(Graph.of(shape).edges)
    scores = rng.normal(size=edges) * 10.0 ** rng.integers(-8, 3, size=edges)
    what = draw(st.sampled_from(["scores", "circuit", "both"]))
    member = rng.random(edges) < 0.4
    member[rng.integers(edges)] = True
    about = draw(st.dictionaries(st.sampled_from(["task", "model", "scores"]), st.sampled_from(["ioi", "a <b> & 'c'"])))
    return ScoredCircuit(
        shape=shape,
        scores=None if what == "circuit" else scores,
        member=None if what == "scores" else member,
        about=about,
    )


def same(one: ScoredCircuit, other: ScoredCircuit) -> bool:
    """Whether two circuits have the same graph, scores to the last bit, and edges."""
    return (one.graph is other.graph or one.graph.edges == other.graph.edges) and all(
        (a is None) == (b is None) and (a is None or bool((a == b).all()))
        for a, b in ((one.scores, other.scores), (one.member, other.member))
    )
