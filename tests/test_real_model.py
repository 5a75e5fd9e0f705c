"""A real pretrained model, fetched from its package and studied end to end; skipped where pip can't reach it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch
from ruamel.yaml import YAML
from scipy.stats import binomtest

from mechshift_core import load_model, load_spec, run
from mechshift_core.errors import ExecutionError
from mechshift_core.models.sources import weights_hash
from mechshift_core.zoo import bundled_models
from mechshift_core.zoo.fetching import fetch
from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe
from mechshift_core.zoo.post_training.results import evaluate_written
from mechshift_core.zoo.storage import read_evaluation, read_record

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]

SPEC = """schema: mechshift/v1
name: real
seed: 1
models:
  arm:   {source: "bundled:smollm2/arm", paradigm: autoregressive}
  tuned: {source: "bundled:smollm2/arm", adapter: adapter, paradigm: autoregressive}
pairs: [{name: tuning, before: arm, after: tuned, role: control}]
tasks: [{name: ioi, examples: 8}, {name: sva, examples: 8}]
select: {correct: none}
interventions: [{name: circuit, kind: edge_attribution, method: eap}]
measures: {overlap: {top_k: [200], splits: 4, permutations: 40}, depth: {}}
hypotheses:
  - {id: shifted, measure: depth_slope, test: {kind: difference}}
statistics: {bootstrap: {replicates: 200}}
execution: {device: cpu}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of SmolLM2-135M-Instruct in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MECHSHIFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        try:
            yield fetch("smollm2-135m", accept_terms=False)
        except ExecutionError as error:
            if "cannot be downloaded" not in str(error):
                raise
            pytest.skip(f"SmolLM2 can't be fetched here: {error}")


@pytest.mark.nightly
def test_it_is_the_model_that_it_should_be(model: Path) -> None:
    """What llama.cpp's file is known to answer, with the probabilities that an independent reading found."""
    loaded = load_model("bundled:smollm2/arm", device="cpu")
    assert loaded.tokenizer is not None
    known = {
        "The capital of France is": (" Paris", 0.77),
        "When Mary and John went to the store, John gave a drink to": (" Mary", 0.92),
    }
    for prompt, (word, probability) in known.items():
        logits = loaded.logits(torch.tensor([loaded.tokenizer(prompt)["input_ids"]]))[0, -1]
        found = logits.softmax(-1).max(-1)
        assert loaded.tokenizer.decode([int(found.indices)]) == word
        assert float(found.values) == pytest.approx(probability, abs=0.01)


@pytest.mark.nightly
def test_a_study_of_it_and_an_adapter_goes_through(model: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    adapted = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(model), peft.LoraConfig(r=2, target_modules=["o_proj"])
    )
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
    adapted.save_pretrained(tmp_path / "adapter")
    (tmp_path / "real.yaml").write_text(SPEC)
    made = run(load_spec(tmp_path / "real.yaml"), out=tmp_path / "out")
    assert made.failures == ()
    assert [one.status for one in made.findings.hypotheses] == ["ok"]
    examples = pl.read_parquet(made.path / "tables/examples.parquet").filter(pl.col("model") == "arm")
    shares = dict(examples.group_by("task").agg(pl.col("correct_by_metric").mean()).iter_rows())
    assert all(share >= 0.75 for share in shares.values()), shares  # a real model knows these tasks untaught
    provenance = json.loads((made.path / "provenance.json").read_text())
    assert provenance["models"]["tuned"]["origin"].startswith("weights dequantised from Q4_1")
    assert {one["words"] for one in provenance["data"].values()} == {"natural"}


@pytest.mark.nightly
def test_the_bundled_pair_is_of_this_base_and_answers_as_its_cards_say(model: Path) -> None:
    """25 other held-out prompts a task; the band is the binomial acceptance region at p > 1e-4."""
    for name in ("smollm2/mdm", "smollm2/arm-continued"):
        folder = bundled_models()[name]
        recipe, stored = read_record(folder).recipe, read_evaluation(folder)
        assert isinstance(recipe, PostTrainingRecipe)
        assert json.loads((folder / "inputs.json").read_text())["base"] == weights_hash(model)
        found = evaluate_written(recipe, folder, count=25, seed=2).held_out
        assert found.keys() == stored.held_out.keys()
        for task, share in found.items():
            count = stored.prompts_per_task
            rate = (stored.held_out[task] * count + 1) / (count + 2)
            assert binomtest(round(share * 25), 25, rate).pvalue > 1e-4, (name, task, share, rate)


def test_the_study_of_the_bundled_pair_goes_through_with_few_prompts(model: Path, tmp_path: Path) -> None:
    yaml = YAML()
    content = yaml.load((Path(__file__).parents[1] / "specs" / "smollm2.yaml").read_text())
    content["tasks"] = [{**task, "examples": 10} for task in content["tasks"] if task["name"] in ("ioi", "infilling")]
    content["interventions"][0] |= {"method": "eap"}
    for unused in ("steps", "quadrature"):
        content["interventions"][0].pop(unused, None)
    content["interventions"] = content["interventions"][:1]
    content["measures"]["overlap"] = {"top_k": [200], "splits": 4, "permutations": 40}
    content["statistics"]["bootstrap"]["replicates"] = 200
    content["hypotheses"] = [one for one in content["hypotheses"] if one["measure"] == "depth_slope"]
    content.pop("sensitivity")
    content["execution"] = {"device": "cpu"}
    with (tmp_path / "few.yaml").open("w") as handle:
        yaml.dump(content, handle)
    made = run(load_spec(tmp_path / "few.yaml"), out=tmp_path / "out")
    assert made.failures == ()
    examples = pl.read_parquet(made.path / "tables/examples.parquet")
    shares = examples.group_by("model", "task").agg(pl.col("correct_by_metric").mean())
    assert len(shares) == 6
    assert shares["correct_by_metric"].min() >= 0.6  # the base does not know the infilling task as well as its heirs
