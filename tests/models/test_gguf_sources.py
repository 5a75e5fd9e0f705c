"""Models in GGUF files: the numbers that the file stands for, or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType as Format
from gguf_models import ARCHITECTURES, TEXT, write_gguf

from mechshift_core import analyze, load_spec, run
from mechshift_core.errors import ExecutionError
from mechshift_core.models import load_model
from mechshift_core.models.checkpoint import stored_tensors
from mechshift_core.models.gguf_files import converted, origin_of
from mechshift_core.models.sources import weights_hash


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MECHSHIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.long
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("form", [Format.Q4_1, Format.Q8_0, Format.F16], ids=lambda form: form.name)
def test_a_file_is_read_as_the_model_with_its_dequantised_weights(
    architecture: str, form: Format, tmp_path: Path
) -> None:
    written = write_gguf(tmp_path / "m.gguf", architecture, form=form, tied=architecture in ("gpt2", "gemma3"))
    model = load_model(f"gguf:{written.file}", device="cpu")
    ids = torch.arange(1, 41).reshape(2, 20) * 3 % written.model.config.vocab_size
    with torch.no_grad():
        expected = written.model(input_ids=ids).logits
    torch.testing.assert_close(model.logits(ids), expected, rtol=1e-5, atol=1e-5)


def test_it_can_be_read_as_a_masked_diffusion_model(tmp_path: Path) -> None:
    written = write_gguf(tmp_path / "m.gguf")
    model = load_model(f"gguf:{written.file}", paradigm="masked_diffusion", mask_token=7, device="cpu")
    assert model.mask_token_id == 7


def test_it_is_converted_once_and_to_the_same_model_every_time(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "m.gguf").file
    first = converted(file)
    before = (first / "model.safetensors").stat().st_mtime_ns
    assert converted(file) == first and (first / "model.safetensors").stat().st_mtime_ns == before
    monkeypatch.setenv("MECHSHIFT_CACHE", str(tmp_path / "other"))
    assert weights_hash(converted(file)) == weights_hash(first)
    assert not [path for path in (cache / "gguf").iterdir() if path.name.startswith(".")]


@pytest.mark.long
@pytest.mark.parametrize("form", [Format.Q4_1, Format.F16], ids=lambda form: form.name)
def test_its_origin_is_recorded(form: Format, tmp_path: Path) -> None:
    origin = origin_of(converted(write_gguf(tmp_path / "m.gguf", form=form).file))
    assert origin is not None
    expected = "dequantised from Q4_1" if form == Format.Q4_1 else "converted"
    assert origin.description == f"weights {expected} (m.gguf)"


@pytest.mark.parametrize(
    ("split", "expected"),
    [("gpt-2", ["Ġ1732"]), ("smollm", ["Ġ", "1", "7", "3", "2"]), ("qwen2", ["Ġ", "1", "7", "3", "2"]),
     ("llama-bpe", ["Ġ", "1", "7", "3", "2"])],
)  # fmt: skip
def test_text_is_split_as_the_file_says(split: str, expected: list[str], tmp_path: Path) -> None:
    model = load_model(f"gguf:{write_gguf(tmp_path / 'm.gguf', split=split).file}", device="cpu")
    assert model.tokenizer is not None
    assert "".join(model.tokenizer.tokenize(TEXT)) == TEXT.replace(" ", "Ġ")
    found = model.tokenizer.tokenize(" 1732")
    if split == "llama-bpe":  # up to three digits are one piece, which no merge may join to a fourth
        assert "1732" not in "".join(found[:-1]) and "Ġ1732" not in found
    else:
        assert found == expected
    assert model.tokenizer("<|end|>")["input_ids"] == [0]


@pytest.mark.parametrize("begins", [True, False])
def test_texts_begin_as_the_file_says(begins: bool, tmp_path: Path) -> None:
    model = load_model(f"gguf:{write_gguf(tmp_path / 'm.gguf', bos=begins).file}", device="cpu")
    assert model.tokenizer is not None
    assert (model.tokenizer("Mary")["input_ids"][0] == 0) == begins


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda file: None, r"cannot be read: No such file .*; expected a GGUF file"),
    "not GGUF": (lambda file: file.write_bytes(b"GIF89a" * 100), r"is no whole GGUF file of a version that is known"),
    "ends early": (
        lambda file: (write_gguf(file), file.write_bytes(file.read_bytes()[:-9000])),
        r"is no whole GGUF file .*download it again",
    ),
    "ends in its settings": (
        lambda file: (write_gguf(file), file.write_bytes(file.read_bytes()[:900])),
        r"is no whole GGUF file .*download it again",
    ),
    "an architecture that is not supported": (
        lambda file: _renamed(file, b"llama", b"mamba"),
        r"architecture 'mamba' is not supported; expected llama, qwen2, qwen3, gemma3, gpt2",
    ),
    "scaled rotary embeddings": (
        lambda file: write_gguf(file, settings={"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}),
        r"settings that are not supported: llama\.rope\.scaling\.type = yarn, llama\.rope\.scaling\.factor = 4\.0",
    ),
    "a setting that is not known": (
        lambda file: write_gguf(file, settings={"attention.scale": 0.1}),
        r"settings that are not supported: llama\.attention\.scale = 0\.1",
    ),
    "settings that are missing": (
        lambda file: _renamed(file, b"layer_norm_rms_epsilon", b"layer_norm_xxx_epsilon"),
        r"settings that are not supported: llama\.attention\.layer_norm_xxx_epsilon",
    ),
    "tensors without a place": (
        lambda file: write_gguf(file, extra={"rope_freqs.weight": (4,)}),
        r"holds 21 tensors, but LlamaForCausalLM has 20, so that some would be left out",
    ),
    "a tensor that is missing": (
        lambda file: write_gguf(file, left_out="blk.1.ffn_up.weight"),
        r"does not fit its own settings: missing_keys: model\.layers\.1\.mlp\.up_proj\.weight",
    ),
}


def _renamed(file: Path, old: bytes, new: bytes) -> None:
    write_gguf(file)
    file.write_bytes(file.read_bytes().replace(old, new))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_as_it_is_meant_is_refused(case: str, tmp_path: Path, cache: Path) -> None:
    make, message = REFUSED[case]
    make(tmp_path / "m.gguf")
    with pytest.raises(ExecutionError, match=message):
        load_model(f"gguf:{tmp_path / 'm.gguf'}", device="cpu")
    assert not [path for path in cache.rglob("*") if path.is_file()]  # nothing half-written


def test_a_tokenizer_that_cannot_be_made_is_asked_for(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", split="tekken").file
    with pytest.raises(ExecutionError, match=r"no tokenizer from m\.gguf: how text is split is 'tekken', .*another as"):
        load_model(f"gguf:{file}", device="cpu")
    own = converted(write_gguf(tmp_path / "same.gguf").file)
    assert load_model(f"gguf:{file}", tokenizer=own, device="cpu").tokenizer is not None


def test_a_file_of_the_same_name_in_the_working_folder_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = write_gguf(tmp_path / "m.gguf", form=Format.Q8_0)
    (tmp_path / "here").mkdir()
    write_gguf(tmp_path / "here/m.gguf", form=Format.Q4_0)
    monkeypatch.chdir(tmp_path / "here")
    ids = torch.arange(1, 21)[None]
    with torch.no_grad():
        expected = there.model(input_ids=ids).logits
    for source in (f"gguf:{there.file}", "gguf:../m.gguf"):
        torch.testing.assert_close(load_model(source, device="cpu").logits(ids), expected, rtol=1e-5, atol=1e-5)


def test_a_cache_that_was_half_removed_is_made_again(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf").file
    folder = converted(file)
    (folder / "model.safetensors").unlink()
    assert converted(file) == folder and (folder / "model.safetensors").is_file()
    (folder / "model.safetensors").write_bytes(b"cut short")
    converted(file)
    load_model(f"gguf:{file}", device="cpu")


@pytest.mark.parametrize(
    ("form", "expected", "said"),
    [(Format.Q4_1, "BF16", " and rounded to bfloat16"), (Format.F16, "F16", ""), (Format.F32, "F32", "")],
    ids=lambda value: getattr(value, "name", None),
)  # fmt: skip
def test_large_models_keep_the_format_of_the_file_and_say_when_they_do_not(
    form: Format, expected: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechshift_core.models.gguf_files.LARGE", 0)
    folder = converted(write_gguf(tmp_path / "m.gguf", form=form).file)
    assert {tensor.dtype for tensor in stored_tensors(folder).values()} == {expected}
    origin = origin_of(folder)
    assert origin is not None and origin.description.endswith(f"{said} (m.gguf)")


def test_a_text_is_composed_before_it_is_split_and_pieces_that_are_tokens_stay_whole(tmp_path: Path) -> None:
    qwen = load_model(f"gguf:{write_gguf(tmp_path / 'q.gguf', split='qwen2').file}", device="cpu").tokenizer
    assert qwen is not None and qwen("e\u0301")["input_ids"] == qwen("\u00e9")["input_ids"]
    llama = load_model(f"gguf:{write_gguf(tmp_path / 'l.gguf', split='llama-bpe').file}", device="cpu").tokenizer
    assert llama is not None and llama.backend_tokenizer.model.ignore_merges is True


@pytest.mark.parametrize("split", ["default", "gpt-4o"])
def test_a_way_of_splitting_that_is_not_known_is_never_guessed(split: str, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match=r"no tokenizer from m\.gguf: how text is split is"):
        load_model(f"gguf:{write_gguf(tmp_path / 'm.gguf', split=split).file}", device="cpu")


def test_somebody_else_s_origin_file_is_left_alone(tmp_path: Path) -> None:
    from random_models import write_random_model

    folder = write_random_model("llama", tmp_path / "m")
    (folder / "origin.json").write_text('{"made by": "hand"}')
    assert origin_of(folder) is None
    load_model(folder, device="cpu")


def test_without_the_packages_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "m.gguf").file
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(ExecutionError, match=r"need the packages gguf and accelerate: pip install gguf accelerate"):
        converted(file)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("MECHSHIFT_CACHE", str(tmp_path / "taken"))
    with pytest.raises(ExecutionError, match=r"cannot write .*taken.*; free some space, or set MECHSHIFT_CACHE"):
        converted(write_gguf(tmp_path / "m.gguf").file)


SPEC = """schema: mechshift/v1
name: quantised
seed: 1
models:
  before: {source: "gguf:m.gguf", paradigm: autoregressive}
  after: {source: "gguf:m.gguf", adapter: adapter, paradigm: masked_diffusion, mask_token: 5}
pairs: [{name: pair, before: before, after: after, role: treatment}]
tasks: [{name: own, regime: local, dataset: pairs.jsonl}]
select: {correct: none}
interventions: [{name: circuit, kind: edge_attribution, steps: 1}]
measures: {overlap: {top_k: [5], splits: 4, permutations: 40}}
statistics: {bootstrap: {replicates: 100}}
execution: {device: cpu}
"""


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_study_of_a_file_and_an_adapter_says_what_they_are(tmp_path: Path) -> None:
    import json

    import peft
    from transformers import AutoModelForCausalLM

    file = write_gguf(tmp_path / "m.gguf").file
    adapted = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(converted(file)), peft.LoraConfig(r=2, init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    lines = [{"clean_ids": [n, 2, 3], "corrupt_ids": [n, 4, 3], "answer_ids": 15, "foil_ids": 16} for n in range(7, 12)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "spec.yaml").write_text(SPEC)
    made = run(load_spec(tmp_path / "spec.yaml"), out=tmp_path / "out")
    assert made.failures == ()
    models = json.loads((made.path / "provenance.json").read_text())["models"]
    assert {model["origin"] for model in models.values()} == {"weights dequantised from Q4_1 (m.gguf)"}
    assert models["after"]["adapters"] == [str(tmp_path / "adapter")] and "adapters" not in models["before"]
    assert models["after"]["weights_sha256"] != models["before"]["weights_sha256"]
    report = (made.path / "report.html").read_text()
    said = "after and before: weights dequantised from Q4_1 (m.gguf); these are not the numbers of the published model."
    assert said in report
    again = run(load_spec(tmp_path / "spec.yaml"), out=tmp_path / "out")
    assert (again.computed, again.analysed) == (0, False)
    assert analyze(made.path).findings.hypotheses == made.findings.hypotheses
