"""Memory does not grow with what was computed: no tensor outlives the call, or the cell, that made it.

A hook on a tensor may know what holds the tensor. Such a cycle goes through the autograd graph, where Python's
collector does not see it, so that every batch stays in memory. With a real model that is hundreds of megabytes a batch.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from random_models import random_batch, write_random_model
from studies import EVERY_KIND, write_study

from mechshift_core import attribute_edges, load_model, load_spec
from mechshift_core.attribution.methods import Method
from mechshift_core.execution.hands import Hands
from mechshift_core.execution.plan import make_plan
from mechshift_core.execution.runner import execute
from mechshift_core.execution.store import RunFolder
from mechshift_core.models import Model

METHODS: tuple[Method, ...] = get_args(Method)


def tensors() -> list[torch.Tensor]:
    """Tensors that are alive."""
    gc.collect()
    return [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]


def left_by(do: Callable[[], object]) -> list[torch.Size]:
    """Shapes of the tensors that are there after a call and were not before; other tests' own may vanish meanwhile."""
    before = {id(one): weakref.ref(one) for one in tensors()}
    do()
    return [one.shape for one in tensors() if id(one) not in before or before[id(one)]() is not one]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_random_model("qwen2", tmp_path_factory.mktemp("qwen2")), device="cpu")


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name == "eap-ig" else [pytest.mark.nightly]) for name in METHODS]
)
def test_attribution_leaves_no_tensor_behind(model: Model, method: Method) -> None:
    batch = random_batch()
    options: dict[str, Any] = {"methods": ("eap", "relp")} if method == "rank-average" else {}

    def once() -> None:
        attribute_edges(model, batch, method=method, steps=2, **options)

    once()  # what is kept on purpose is there now
    assert left_by(once) == []


@pytest.mark.long
def test_a_batch_that_did_not_fit_leaves_no_tensor_behind(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    attribute_edges(model, random_batch())
    grad = torch.autograd.grad

    def small_memory(outputs: torch.Tensor, inputs: Any, **options: Any) -> Any:
        if len(inputs[0]) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return grad(outputs, inputs, **options)

    monkeypatch.setattr(torch.autograd, "grad", small_memory)
    halvings: list[object] = []
    assert left_by(lambda: halvings.extend(attribute_edges(model, random_batch()).batching.halvings)) == []
    assert halvings


@pytest.mark.nightly
def test_a_cell_of_any_kind_leaves_no_tensor_behind(tmp_path: Path) -> None:
    plan = make_plan(load_spec(write_study(tmp_path, interventions=EVERY_KIND, diffusion=True, rule="none")))
    folder = RunFolder(tmp_path / "out")
    with folder.claim():
        assert not execute(plan, folder).failures  # what some cells need of others is there
        hands, left = Hands(plan, folder), {}
        for cell in (cell for _, cell in plan.every_cell if cell.model == "before"):
            assert hands.compute(cell.key).reason is None
            left[str(cell)] = left_by(partial(hands.compute, cell.key))
    assert {cell: shapes for cell, shapes in left.items() if shapes} == {}
    assert len(left) >= len(EVERY_KIND)
