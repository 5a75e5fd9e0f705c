"""What is computed on a GPU is what a processor computes; all of it is skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import FAMILIES, write_random_model
from studies import EVERY_KIND, write_study

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model, run
from mechshift_core.pipeline import Run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def batch(rows: int = 6, tokens: int = 7) -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(1)
    clean, corrupt = (torch.randint(1, 38, (rows, tokens), generator=draw) for _ in range(2))
    return CounterfactualBatch(
        clean_ids=clean, corrupt_ids=corrupt, answer_ids=[[3]] * rows, foil_ids=[[4]] * rows, position=-1
    )


def loaded(folder: Path, paradigm: str, **options: Any) -> Any:
    mask = {"mask_token": 39, "shifted": True} if paradigm == "masked_diffusion" else {}
    return load_model(folder, paradigm=paradigm, **mask, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("paradigm", ["autoregressive", "masked_diffusion"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_and_circuits_are_those_of_a_processor(tmp_path: Path, family: str, paradigm: str) -> None:
    folder = write_random_model(family, tmp_path / "model")
    found = {}
    for device in ("cpu", "cuda"):
        model = loaded(folder, paradigm, device=device)
        scores = attribute_edges(model, batch(), steps=3)
        circuit = [scores.edges[number] for number in scores.mean().abs().topk(10).indices.tolist()]
        found[device] = scores, evaluate_circuits(model, batch(), circuits=[circuit])
    (cpu, of_cpu), (gpu, of_gpu) = found["cpu"], found["cuda"]
    scale = float(cpu.values.abs().max())
    assert float((cpu.values - gpu.values.cpu()).abs().max()) <= 1e-4 * scale
    torch.testing.assert_close(of_gpu.cpu(), of_cpu, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(tmp_path: Path, dtype: str) -> None:
    folder = write_random_model("qwen2", tmp_path / "model")
    exact = attribute_edges(loaded(folder, "autoregressive", device="cuda"), batch(), steps=3).values.cpu()
    half = attribute_edges(loaded(folder, "autoregressive", device="cuda", dtype=dtype), batch(), steps=3).values.cpu()
    cosine = torch.nn.functional.cosine_similarity(exact.flatten(), half.float().flatten(), dim=0)
    assert float(cosine) > 0.99


def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path) -> None:
    """The process may take a share of the GPU that some batch does not fit into."""
    folder = write_random_model("llama", tmp_path / "model")
    model = loaded(folder, "autoregressive", device="cuda")
    whole = attribute_edges(model, batch(rows=512), steps=4).values.cpu()
    torch.cuda.empty_cache()
    total, used = torch.cuda.get_device_properties(0).total_memory, torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((used + 24 * 2**20) / total)
    try:
        halved = attribute_edges(model, batch(rows=512), steps=4, batch_size=512)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert halved.batching is not None and halved.batching.halvings
    torch.testing.assert_close(halved.values.cpu(), whole, rtol=1e-4, atol=1e-5)


def findings(made: Run) -> list[tuple[str, float | None, str]]:
    return [(one.id, one.estimate, one.verdict) for one in made.findings.hypotheses]


def test_a_study_finds_the_same(tmp_path: Path) -> None:
    study = write_study(tmp_path, interventions=EVERY_KIND, diffusion=True)
    cpu = run(study, out=tmp_path / "cpu", cells="none")
    study.write_text(study.read_text().replace("device: cpu", "device: cuda"))
    gpu = run(study, out=tmp_path / "gpu", cells="none")
    assert cpu.failures == gpu.failures == ()
    assert "cuda" in (gpu.path / "provenance.json").read_text()
    for (name, one, verdict), (_, other, again) in zip(findings(cpu), findings(gpu), strict=True):
        assert verdict == again and other == pytest.approx(one, abs=1e-3), name
