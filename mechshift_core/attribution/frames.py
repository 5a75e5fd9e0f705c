"""Results with arrays as polars frames: a row an edge, a node or a run, with what its name says as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from torch import Tensor

from mechshift_core.options import checked

Per = Literal["mean", "prompt"]
"""Whether a frame has a row for the mean over the prompts, or one for each of them."""

Floats = npt.NDArray[np.float64]


def edge_columns(edges: Sequence[str]) -> pl.DataFrame:
    """What the names of edges say, named as in the table `edges` of a run.

    Args:
        edges: Names of edges, those into the logits among them.

    Returns:
        A row an edge: `edge`; `source` and `target`, its nodes; `kind`, theirs, such as `head->q`; `source_layer`, -1
        for the input; `source_head`, null for what is no head; `target_layer`, the number of layers for the logits; and
        `target_head`, of keys and values that heads share the number of the shared one.
    """
    named = pl.DataFrame({"edge": pl.Series(edges, dtype=pl.String)}).with_columns(
        source=pl.col("edge").str.extract(r"^(.*)->", 1), target=pl.col("edge").str.extract(r"->(.*)$", 1)
    )
    source, target = pl.col("source"), pl.col("target")
    role = target.str.extract(r"<([qkv])>$", 1)
    return named.with_columns(
        kind=pl.concat_str(node_kind(source), pl.lit("->"), pl.coalesce(role, node_kind(target))),
        source_layer=_number(source, r"^[am](\d+)").fill_null(-1),
        source_head=_number(source, r"\.h(\d+)$"),
        target_layer=_number(target, r"^[am](\d+)"),
        target_head=_number(target, r"\.(?:h|kv)(\d+)<"),
    ).with_columns(pl.col("target_layer").fill_null(pl.col("source_layer").max() + 1))


def node_columns(nodes: Sequence[str]) -> pl.DataFrame:
    """What the names of nodes say: `node`; `kind` (input, head, mlp or residual); `layer`, -1 for the input; `head`."""
    node = pl.col("node")
    return pl.DataFrame({"node": pl.Series(nodes, dtype=pl.String)}).with_columns(
        kind=node_kind(node),
        layer=_number(node, r"^[amx](\d+)").fill_null(-1),
        head=_number(node, r"\.h(\d+)$"),
    )


def node_kind(node: pl.Expr) -> pl.Expr:
    """The kind of a node by its name."""
    kinds = {"a": "head", "m": "mlp", "x": "residual", "i": "input", "l": "logits"}
    return node.str.slice(0, 1).replace_strict(kinds, return_dtype=pl.String)


def scored(columns: pl.DataFrame, values: Tensor, *, per: Per) -> pl.DataFrame:
    """Columns of names with their scores.

    Args:
        columns: A row for each of what is scored.
        values: Scores, [examples, scored].
        per: `mean` adds `score`, the mean over the examples, `se`, its standard error (null of a single example), and
            `rank` by magnitude, 1 is the largest; scores of 0 share the last one. `prompt` gives every row once an
            example, with `example`, its number in the batch, and `score`.
    """
    array: Floats = values.double().cpu().numpy()
    if per == "prompt":
        return repeated(columns, {"score": array})
    mean = array.mean(axis=0)
    ranks = np.empty(len(mean), dtype=np.int64)
    ranks[np.argsort(-np.abs(mean), kind="stable")] = np.arange(1, len(mean) + 1)
    if len(array) < 2:
        errors = pl.Series([None] * len(mean), dtype=pl.Float64)
    else:
        errors = pl.Series(array.std(axis=0, ddof=1) / np.sqrt(len(array)))
    return columns.with_columns(
        score=mean,
        se=errors,
        rank=np.where(mean == 0, np.count_nonzero(mean) + 1, ranks),  # a null would come first where these are sorted
    )


def repeated(columns: pl.DataFrame, values: Mapping[str, npt.NDArray[Any]]) -> pl.DataFrame:
    """Columns of names once for each example, the examples one after the other, with values [examples, rows]."""
    examples = len(next(iter(values.values())))
    places = np.tile(np.arange(columns.height), examples)
    flat = {name: array.reshape(-1) for name, array in values.items()}
    return columns[places].with_columns(example=np.repeat(np.arange(examples), columns.height), **flat)


@checked
def metric_frame(values: Tensor, names: Sequence[str | int | float] | None = None, *, run: str = "run") -> pl.DataFrame:
    """Metrics of several runs of a model as a frame: what `evaluate_circuits`, `patch_nodes` and `cross_patch` return.

    Args:
        values: [runs, examples].
        names: What each run is called, [runs]: texts, or numbers; numbers from 0 on unless given.
        run: Name of the column of these, such as `circuit`.

    Returns:
        A row for each run and example: the run, `example`, `metric`.

    Raises:
        ValueError: if the values are no table, or there is not one name a run.
    """
    if getattr(values, "ndim", None) != 2:
        raise ValueError(f"values: expected [runs, examples], got {list(getattr(values, 'shape', []))}")
    if names is not None and len(names) != len(values):
        raise ValueError(f"names: expected one a run, {len(values)}, got {len(names)}")
    if names is not None and len({isinstance(name, str) for name in names}) > 1:
        raise ValueError("names: expected texts or numbers, not both")
    runs, examples = values.shape
    called = pl.Series(range(runs) if names is None else list(names))
    return pl.DataFrame(
        {
            run: called.gather(np.repeat(np.arange(runs), examples)),
            "example": np.tile(np.arange(examples), runs),
            "metric": values.double().cpu().numpy().reshape(-1),
        }
    )


def _number(text: pl.Expr, pattern: str) -> pl.Expr:
    return text.str.extract(pattern, 1).cast(pl.Int64)
