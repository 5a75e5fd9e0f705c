"""A float64 model computes everything in float64: nothing of it has the rounding of one processor's float32."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import FAMILIES, write_random_model
from torch.utils._python_dispatch import TorchDispatchMode

from mechshift_core import CounterfactualBatch, attribute_edges, load_model
from mechshift_core.models.sources import resolve_dtype

IDS = torch.tensor([[3, 14, 15, 9, 26, 5], [35, 8, 9, 7, 9, 32]])


class Formats(TorchDispatchMode):
    """Counts the floating-point formats of everything that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, torch.Tensor) and one.is_floating_point():
                self.found[one.dtype] += 1
        return result


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(request.param, tmp_path_factory.mktemp("model"))


def batch() -> CounterfactualBatch:
    return CounterfactualBatch(
        clean_ids=IDS, corrupt_ids=IDS.flip(1), answer_ids=torch.tensor([1, 2]), foil_ids=torch.tensor([3, 4])
    )


@pytest.mark.parametrize("paradigm", ["autoregressive", "masked_diffusion"])
def test_nothing_is_computed_in_another_format(folder: Path, paradigm: Any) -> None:
    model = load_model(folder, paradigm=paradigm, dtype="float64", device="cpu")
    assert {x.dtype for x in (*model.module.parameters(), *model.module.buffers())} == {torch.float64}
    with Formats() as formats:
        logits = model.logits(IDS)
    assert set(formats.found) == {torch.float64}
    single = load_model(folder, paradigm=paradigm, dtype="float32", device="cpu")
    with Formats() as formats:
        rounded = single.logits(IDS)
    assert set(formats.found) == {torch.float32}  # what counts formats would see others
    torch.testing.assert_close(logits.float(), rounded, rtol=1e-4, atol=1e-4)
    assert not torch.equal(logits, rounded.double())


@pytest.mark.long
def test_scores_of_every_method_are_in_float64(folder: Path) -> None:
    model, single = (load_model(folder, dtype=dtype, device="cpu") for dtype in ("float64", "float32"))
    for method in ("eap", "eap-ig", "exact"):
        with Formats() as formats:
            found = attribute_edges(model, batch(), method=method)
        assert found.values.dtype == torch.float64
        # Factors of patches are ones and zeros, whatever their format.
        assert method == "exact" or set(formats.found) == {torch.float64}
        rounded = attribute_edges(single, batch(), method=method).values
        error = float((found.values - rounded).abs().max() / rounded.abs().max())
        assert 0 < error < 1e-3


def test_float64_is_never_chosen_by_itself(folder: Path) -> None:
    assert resolve_dtype(folder, "auto", device="cpu") == "float32"
    assert resolve_dtype(folder, "float64", device="cpu") == "float64"
