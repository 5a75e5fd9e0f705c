"""Every method against a slow and direct implementation, in float64, on every architecture and in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import FAMILIES, write_random_model
from slow_attribution import SlowModel, slow_scores

from mechshift_core import CounterfactualBatch, attribute_edges, load_model
from mechshift_core.attribution.methods import random_points
from mechshift_core.models import Model

PARADIGMS = ("autoregressive", "masked_diffusion")
EVERY_RUN = ("gpt2-masked_diffusion", "gemma2-autoregressive")
"""Plain and gated MLPs, both norms, caps, a window and shared heads; the others are behind the marker `long`."""
MIDPOINTS = [0.25, 0.75]
METHODS: dict[str, dict[str, Any]] = {
    "eap": {},
    "eap-ig": {"alphas": MIDPOINTS},
    "eap-ig-activations": {"alphas": MIDPOINTS},
    "eap-ig-sources": {"alphas": MIDPOINTS},
    "expected-gradients": {},
    "gim": {},
    "relp": {},
}


def models() -> list[Any]:
    every = [(family, paradigm) for family in FAMILIES for paradigm in PARADIGMS]
    return [
        pytest.param(one, id="-".join(one), marks=() if "-".join(one) in EVERY_RUN else pytest.mark.long)
        for one in every
    ]


@pytest.fixture(scope="module", params=models())
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, SlowModel]:
    family, paradigm = request.param
    folder = write_random_model(family, tmp_path_factory.mktemp(family))
    model = load_model(folder, paradigm=paradigm, dtype="float64", device="cpu")
    return model, SlowModel(folder, bidirectional=paradigm == "masked_diffusion")


@pytest.fixture(scope="module")
def batch() -> CounterfactualBatch:
    return random_batch()


def random_batch() -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (3, 6), generator=draw) for _ in range(2))
    answers = torch.arange(3)
    return CounterfactualBatch(
        clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers, foil_ids=answers + 20,
        position=torch.tensor([5, 4, 3]),
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_the_slow_implementation(
    both: tuple[Model, SlowModel], batch: CounterfactualBatch, method: Any
) -> None:
    model, slow = both
    options = dict(METHODS[method])
    if method == "expected-gradients":
        options["points"] = random_points(batch, 1, 7)[0]
    found = attribute_edges(model, batch, method=method, steps=2, seed=7).values
    expected = slow_scores(slow, batch, method, **options)
    assert found.dtype == torch.float64
    assert float((found - expected).abs().max()) <= 1e-8 * float(expected.abs().max())
