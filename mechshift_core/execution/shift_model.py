"""The table that a spec's mixed model is fitted to: its columns, and whether the model can be told from them.

Every prompt on every pair has one row a layer: the after-minus-before difference of the layer's share of attribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mechshift_core.spec.placed import PlacedError
from mechshift_core.spec.schema import PairSpec, Spec, TaskSpec

if TYPE_CHECKING:
    import polars as pl

    from stats.layer_shift import ShiftScale

Floats = npt.NDArray[np.float64]
COLUMNS = ("shift", "depth", "layer", "prompt", "template", "task", "regime", "pair", "role", "seed")
"""What formulas can name."""
_PROMPTS, _LAYERS = 4, 3


def shift_rows(
    before: Floats,
    after: Floats,
    *,
    pair: PairSpec,
    task: TaskSpec,
    examples: Sequence[int],
    templates: Sequence[str],
    scale: ShiftScale = "share",
) -> pl.DataFrame:
    """One pair's and task's rows of the table, with the columns `COLUMNS`.

    Args:
        before: Shares of the layers [n, L]; `after` likewise.
        examples: Numbers of the examples within the task [n]; the same number is the same prompt on every pair.
        templates: Their templates [n].
        scale: Of the shift: difference of shares, or of their centred log-ratios.
    """
    from stats.layer_shift import shift_frame

    same = {
        "task": task.name,
        "regime": task.regime,
        "pair": pair.name,
        "role": pair.role,
        "seed": pair.name if pair.seed is None else str(pair.seed),
    }
    return shift_frame(
        before,
        after,
        prompt=[f"{task.name}:{number}" for number in examples],
        labels={
            "template": [f"{task.name}:{template}" for template in templates],
            **{name: [value] * len(before) for name, value in same.items()},
        },
        scale=scale,
    ).select(COLUMNS)


def check_mixed_model(spec: Spec) -> None:
    """Whether the formulas can be read and their terms be told apart, given the pairs and tasks of the spec.

    Raises:
        PlacedError: saying what can't.
    """
    from polars import concat

    from stats.mixed_design import fixed_design, random_terms

    declared = spec.statistics.mixed_model
    if declared is None:
        return
    rng = np.random.default_rng(0)
    made = [
        shift_rows(
            *rng.dirichlet(np.ones(_LAYERS), size=(2, _PROMPTS)),
            pair=pair,
            task=task,
            examples=range(_PROMPTS),
            templates=["one", "two"] * (_PROMPTS // 2),
        )
        for pair in spec.pairs
        if pair.role != "unrelated"
        for task in spec.tasks
    ]
    frame = concat(made)
    try:
        response, _, _ = fixed_design(frame, declared.formula)
        random_terms(frame, declared.random)
    except ValueError as error:
        key = "random" if str(error).startswith("random") else "formula"
        message = f"statistics.mixed_model: {error} (columns: {', '.join(COLUMNS)})"
        raise PlacedError(message, "statistics", "mixed_model", key) from error
    if response != "shift":
        message = f"statistics.mixed_model: expected `shift ~ ...`, got a formula for {response!r}"
        raise PlacedError(message, "statistics", "mixed_model", "formula")
