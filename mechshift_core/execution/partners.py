"""The other model of a pair, for cells that need both in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mechshift_core.execution import hands
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan

if TYPE_CHECKING:
    from torch import nn

    from mechshift_core.models import Model

_partners: WeakKeyDictionary[nn.Module, tuple[object, Model]] = WeakKeyDictionary()
"""The model in memory -> the one that was last needed beside it, which goes when it does."""


def partner_of(plan: Plan, cell: Cell, model: Model) -> Model:
    """The model that a cell's model has a pair with, in memory beside it; it stays there for the next cell.

    Args:
        plan: The plan of the cell.
        cell: A cell of a pair.
        model: The cell's model.

    Raises:
        ExecutionError: if it can't be loaded.
    """
    name = plan.partner(cell)
    facts = plan.models[name]
    key = (facts.weights, facts.declared, facts.dtype, plan.spec.execution.device)
    held = _partners.get(model.module)
    if held is None or held[0] != key:
        _partners.pop(model.module, None)
        held = (key, hands.load_planned(plan, name))
        _partners[model.module] = held
    return held[1]
