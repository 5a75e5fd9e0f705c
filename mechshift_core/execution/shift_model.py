"""The tables of a spec's layer-wise shift: their columns, and whether the declared model can be told from them.

Every prompt on every pair has one row a layer, the after-minus-before difference of the layer's share of attribution,
and one slope of these over depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mechshift_core.kinds.checks import RANKS_HAVE_NO_MASS
from mechshift_core.spec.pairs import PairSpec
from mechshift_core.spec.placed import PlacedError
from mechshift_core.spec.schema import Spec
from mechshift_core.spec.tasks import TaskSpec

if TYPE_CHECKING:
    import polars as pl

    from stats.layer_shift import ShiftScale

Floats = npt.NDArray[np.float64]
COLUMNS = ("shift", "depth", "layer", "prompt", "template", "task", "regime", "pair", "role", "seed")
"""What formulas can name."""
ROWS = ("prompt", "pair")
"""The shifts of a prompt on a pair sum to zero over the layers."""
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

    given = _labels(pair, task, examples, templates)
    return shift_frame(before, after, **given, scale=scale).select(COLUMNS)


def slope_rows(
    before: Floats,
    after: Floats,
    *,
    pair: PairSpec,
    task: TaskSpec,
    examples: Sequence[int],
    templates: Sequence[str],
    scale: ShiftScale = "share",
) -> pl.DataFrame:
    """One pair's and task's slopes over depth, one for each prompt, with the labels of :func:`shift_rows`."""
    from stats.layer_shift import slope_frame

    return slope_frame(before, after, **_labels(pair, task, examples, templates), scale=scale)


def _labels(pair: PairSpec, task: TaskSpec, examples: Sequence[int], templates: Sequence[str]) -> dict[str, Any]:
    same = {
        "task": task.name,
        "regime": task.regime,
        "pair": pair.name,
        "role": pair.role,
        "seed": pair.name if pair.seed is None else str(pair.seed),
    }
    return {
        "prompt": [f"{task.name}:{number}" for number in examples],
        "labels": {
            "template": [f"{task.name}:{template}" for template in templates],
            **{name: [value] * len(examples) for name, value in same.items()},
        },
    }


def random_effects(spec: Spec, *, layers: int, templates: bool = False) -> tuple[str, ...]:
    """The random effects of the declared model; `units` are slopes over depth of all units that there are.

    With two layers a prompt on a pair has one independent row: what is particular to it is the residual.

    Args:
        spec: The spec.
        layers: Number of layers.
        templates: Whether templates are random units of their own, which prompts are nested in.
    """
    declared = spec.statistics.mixed_model
    assert declared is not None
    if declared.random != "units":
        return declared.random
    groups = ["prompt", *(["template"] if templates else [])]
    if len(spec.pairs) > 1:
        groups += ["prompt:pair"] if layers > 2 else []
        groups += ["template:pair"] if templates else []
        roles = [pair.role for pair in spec.pairs]
        # A pair of its own for every role can't be told from the role.
        if any(roles.count(role) > 1 for role in roles):
            groups += ["pair", "task:pair"] if len(spec.tasks) > 1 else ["pair"]
    return tuple(f"0 + depth | {group}" for group in groups)


def check_mixed_model(spec: Spec) -> None:
    """Whether the formulas can be read and their terms be told apart, given the pairs and tasks of the spec.

    Raises:
        PlacedError: saying what can't.
    """
    from stats.mixed_design import fixed_design, random_terms
    from stats.mixed_zero_sums import with_zero_sums

    declared = spec.statistics.mixed_model
    if declared is None:
        return
    if spec.ranks_edges:
        raise PlacedError(f"statistics.mixed_model: {RANKS_HAVE_NO_MASS}", "statistics", "mixed_model")
    frame = _made_up(spec)
    try:
        response, y, design = fixed_design(frame, declared.formula)
        terms = random_terms(frame, random_effects(spec, layers=_LAYERS))
        if response == "shift":
            with_zero_sums(frame, y, design, terms, ROWS)
    except ValueError as error:
        key = "random" if str(error).startswith("random") else "formula"
        message = f"statistics.mixed_model: {error} (columns: {', '.join(COLUMNS)})"
        raise PlacedError(message, "statistics", "mixed_model", key) from error
    if response != "shift":
        message = f"statistics.mixed_model: expected `shift ~ ...`, got a formula for {response!r}"
        raise PlacedError(message, "statistics", "mixed_model", "formula")


def cautions_of_model(spec: Spec) -> tuple[str, ...]:
    """What a declared model that can be fitted is to be warned of: effects without the units that they vary over."""
    from mechshift_core.execution.shift_units import lacking_units, without_slopes
    from stats.mixed_design import fixed_design, random_terms
    from stats.mixed_zero_sums import with_zero_sums

    declared = spec.statistics.mixed_model
    if declared is None or declared.random == "units":
        return ()
    frame = _made_up(spec)
    _, y, design = fixed_design(frame, declared.formula)
    inside = with_zero_sums(frame, y, design, random_terms(frame, declared.random), ROWS)
    columns = inside.design.columns
    random = [(term.group, name) for term in inside.terms for name in term.names]
    by_template = spec.statistics.units.template == "random"
    lacking = lacking_units(columns, random, frame, len(y) - inside.groups, by_template=by_template)
    return (f"statistics.mixed_model: {without_slopes(lacking, columns)}",) if lacking else ()


def _made_up(spec: Spec) -> pl.DataFrame:
    """A table of the spec's pairs and tasks, with a few prompts and layers of random shares."""
    from polars import concat

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
        if not pair.unrelated
        for task in spec.tasks
    ]
    return concat(made)
