"""Models between two, held against a model that is loaded with the averaged weights; and what has no path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import DECODER, SIZES, write_random_model

from mechshift_core import load_model
from mechshift_core.errors import ExecutionError
from mechshift_core.models import Model
from mechshift_core.models.weight_path import weight_path

IDS = torch.randint(38, (3, 6), generator=torch.Generator().manual_seed(0))


def loaded(folder: Path, paradigm: str = "autoregressive") -> Model:
    options: dict[str, Any] = {"paradigm": paradigm, "mask_token": 39 if paradigm == "masked_diffusion" else None}
    return load_model(folder, device="cpu", dtype="float64", **options)


def averaged(first: Path, second: Path, folder: Path, point: float) -> Path:
    """A checkpoint with the average of the stored weights."""
    from transformers import AutoModelForCausalLM

    one: Any = AutoModelForCausalLM.from_pretrained(first, dtype=torch.float64)
    other = AutoModelForCausalLM.from_pretrained(second, dtype=torch.float64).state_dict()
    one.load_state_dict({name: (1 - point) * value + point * other[name] for name, value in one.state_dict().items()})
    one.save_pretrained(folder)
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "paradigm"), [("gpt2", "autoregressive"), ("qwen2", "masked_diffusion"), ("gemma2", "autoregressive")]
)
def test_a_point_is_the_model_with_the_averaged_weights(family: str, paradigm: str, tmp_path: Path) -> None:
    """GPT-2 and Gemma tie the output matrix to the embedding."""
    folders = [write_random_model(family, tmp_path / str(seed), seed=seed) for seed in range(2)]
    before, after = loaded(folders[0]), loaded(folders[1], paradigm)
    for point in (0.0, 0.3, 1.0):
        expected = loaded(averaged(*folders, tmp_path / f"at{point}", point), paradigm)
        path = weight_path(before, after, after)
        torch.testing.assert_close(path.logits(path.weights(point), IDS), expected.logits(IDS), atol=1e-9, rtol=1e-9)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]] * 3)
    padded = path.logits(path.weights(0.3), IDS, mask)[:, :4]
    torch.testing.assert_close(padded, path.logits(path.weights(0.3), IDS[:, :4]), atol=1e-9, rtol=1e-9)


@pytest.mark.nightly
def test_the_ends_are_the_models_and_nothing_is_left_changed(tmp_path: Path) -> None:
    before, after = (loaded(write_random_model("llama", tmp_path / str(seed), seed=seed)) for seed in range(2))
    expected = before.logits(IDS), after.logits(IDS)
    for read_as in (before, after):
        path = weight_path(before, after, read_as)
        path.check_ends(IDS)
        found = [path.logits(path.weights(point), IDS) for point in (0.0, 0.5, 1.0)]
        assert torch.equal(found[0], expected[0]) and torch.equal(found[2], expected[1])
        assert float((found[1] - (expected[0] + expected[1]) / 2).abs().max()) > 1e-3  # a network is not linear
    assert torch.equal(before.logits(IDS), expected[0]) and torch.equal(after.logits(IDS), expected[1])


@pytest.mark.long
def test_where_one_model_ties_its_weights_and_the_other_does_not_each_end_has_its_own(tmp_path: Path) -> None:
    import transformers as hf

    for number, tied in enumerate((True, False)):
        torch.manual_seed(number)
        config = hf.LlamaConfig(**(DECODER | SIZES | {"num_hidden_layers": 1, "tie_word_embeddings": tied}))
        hf.LlamaForCausalLM(config).save_pretrained(tmp_path / str(number))
    before, after = loaded(tmp_path / "0"), loaded(tmp_path / "1")
    for read_as in (before, after):
        path = weight_path(before, after, read_as)
        for point, model in ((0.0, before), (1.0, after)):
            torch.testing.assert_close(path.logits(path.weights(point), IDS), model.logits(IDS), atol=1e-12, rtol=0)
        between = path.weights(0.25)
        head = 0.75 * before.module.lm_head.weight + 0.25 * after.module.lm_head.weight  # type: ignore[union-attr,operator]
        torch.testing.assert_close(between["lm_head.weight"], head)
        assert not torch.equal(between["lm_head.weight"], between["model.embed_tokens.weight"])


@pytest.mark.long
def test_models_between_which_there_is_no_line_are_refused_by_name(tmp_path: Path) -> None:
    import transformers as hf

    llama = loaded(write_random_model("llama", tmp_path / "llama"))
    gpt2 = loaded(write_random_model("gpt2", tmp_path / "gpt2"))
    with pytest.raises(
        ExecutionError, match=r"only one of them has model.embed_tokens.weight, .* different architectures"
    ):
        weight_path(llama, gpt2, llama)
    options = {"vocab_size": 44}, {"rope_theta": 77.0}, {"rms_norm_eps": 0.5}
    others = []
    for number, changed in enumerate(options):
        torch.manual_seed(0)
        config = hf.LlamaConfig(**(DECODER | SIZES | {"num_hidden_layers": 2} | changed))
        hf.LlamaForCausalLM(config).save_pretrained(tmp_path / str(number))
        others.append(loaded(tmp_path / str(number)))
    with pytest.raises(ExecutionError, match=r"embed_tokens.weight \[40, 16\] and \[44, 16\].*the same vocabulary"):
        weight_path(llama, others[0], llama)
    with pytest.raises(ExecutionError, match=r"they differ in model.rotary_emb.inv_freq, .* rope_theta"):
        weight_path(llama, others[1], llama)
    with pytest.raises(ExecutionError, match="differ in more than their weights"):
        weight_path(llama, others[2], llama).check_ends(IDS)
