"""The components that every edge touches, and the strata within which chance takes them as exchangeable."""

from __future__ import annotations

import numpy as np

from mechshift_core.graph import Graph, depth_ranges, readers
from stats.node_sets import EdgeNodes


def edge_nodes(graph: Graph) -> EdgeNodes:
    """Heads and MLPs that each edge touches, as it writes from one and reads into one.

    Queries, keys and values belong to their head, and keys or values that several heads share to each of them. The
    input and the logits are in every circuit and are left out. Strata: kind x early, middle or late layers.
    """
    components = [source for source in graph.sources if source.kind != "input"]
    number = {source.name: place for place, source in enumerate(components)}
    written = np.array([number.get(source.name, -1) for source in graph.sources])
    found = [[number[graph.sources[one].name] for one in readers(graph, node.name)] for node in graph.receivers]
    read = np.full((len(found), max(map(len, found))), -1)
    for row, own in zip(read, found, strict=True):
        row[: len(own)] = own
    source, receiver = graph.edge_index
    ranges = depth_ranges(1 + max(component.layer for component in components))
    depth = {layer: name for name, layers in ranges.items() for layer in layers}
    return EdgeNodes(
        np.column_stack([written[source], read[receiver]]),
        [f"{component.kind} {depth[component.layer]}" for component in components],
    )
