"""Where in depth a circuit lies: the share of attribution mass that leaves each layer's components.

Depth is scaled to [-1/2, 1/2], from the first to the last layer, so that an effect at depth 0 is one at mid-depth and
slopes compare across models of different size. Shares of a prompt sum to one, so that their after-minus-before
differences sum to zero: what can differ is their slope over depth.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats, as_scores, known_labels
from stats.options import Count, Share, checked


@checked
def layer_shares(scores: ArrayLike, source_layer: ArrayLike, layers: Count) -> Floats:
    """Share of the attribution mass sum |score| on the edges that leave each layer's components.

    Args:
        scores: Signed scores [n, E].
        source_layer: Layer of each edge's source [E]; -1 for the input, whose edges are left out.
        layers: Number of layers L.

    Returns:
        [n, L]; rows sum to one.

    Raises:
        ValueError: if shapes do not match, a layer is out of range, or a row has no mass.
    """
    array = as_scores(scores, "scores", dimensions=2)
    source = known_labels(source_layer, "source_layer")
    if source.shape != (array.shape[1],):
        raise ValueError(f"source_layer: expected one for each of {array.shape[1]} edges, got shape {source.shape}")
    if source.min() < -1 or source.max() >= layers:
        raise ValueError(f"source_layer: expected -1 to {layers - 1}, got {source.min()} to {source.max()}")
    # One layer at a time: the magnitudes of all edges at once would double the memory.
    columns = [np.abs(array[:, source == layer]).sum(axis=1, dtype=np.float64) for layer in range(layers)]
    mass = np.stack(columns, axis=1)
    total = mass.sum(axis=1, keepdims=True)
    empty = np.flatnonzero(total[:, 0] == 0)
    if empty.size:
        named = ", ".join(str(row) for row in empty[:5]) + (", ..." if empty.size > 5 else "")
        raise ValueError(f"scores: no attribution mass on edges from any layer in {empty.size} row(s): {named}")
    return np.asarray(mass / total)


@checked
def scaled_depth(layers: Count) -> Floats:
    """Depth of each layer in [-1/2, 1/2]; a single layer is at 0.

    Raises:
        ValueError: if there is no layer.
    """
    return np.linspace(-0.5, 0.5, layers) if layers > 1 else np.zeros(1)


@checked
def early_layers(layers: Count, early: Share = 1 / 3) -> int:
    """How many layers are early: the fraction of the layers rounded to the nearest (halves up), at least one."""
    return max(1, math.floor(early * layers + 0.5))


@checked
def early_share(shares: ArrayLike, early: Share = 1 / 3) -> Floats:
    """Share of the mass [n] in the early layers, the first :func:`early_layers`, from shares [n, L].

    Raises:
        ValueError: if the shares are not a finite matrix, or `early` is not between 0 and 1.
    """
    array = as_floats(shares, "shares", dimensions=2)
    return np.asarray(array[:, : early_layers(array.shape[1], early)].sum(axis=1))


def centroid(shares: ArrayLike) -> Floats:
    """Mean scaled depth [n] of the mass, from shares [n, L].

    Raises:
        ValueError: if the shares are not a finite matrix.
    """
    array = as_floats(shares, "shares", dimensions=2)
    return np.asarray(array @ scaled_depth(array.shape[1]))


def depth_slope(shift: ArrayLike) -> Floats:
    """Least-squares slope over scaled depth of each prompt's after-minus-before shares.

    Negative: attribution moved towards early layers.

    Args:
        shift: Differences of shares [n, L].

    Returns:
        [n], in share per whole depth of the model.

    Raises:
        ValueError: if there are fewer than two layers, or the differences are not a finite matrix.
    """
    array = as_floats(shift, "shift", dimensions=2)
    if array.shape[1] < 2:
        raise ValueError("shift: expected at least 2 layers for a slope over depth, got 1")
    depth = scaled_depth(array.shape[1])
    return np.asarray(array @ depth / (depth @ depth))
