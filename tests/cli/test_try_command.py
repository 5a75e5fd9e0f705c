"""`mechshift try`: what a few prompts of each task say of a study before it is run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from studies import write_pairs, write_study

from mechshift_core.cli.main import main
from mechshift_core.pipeline import run
from mechshift_core.tables import read_tables


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path / "study", diffusion=True)


def tried(study: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    assert main(["try", str(study), "--json", *options]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_it_says_of_all_prompts_what_the_run_then_finds(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tried(study, capsys, "--limit", "12")
    assert not Path("runs").exists()
    examples = read_tables(run(study, out="run").path / "tables")["examples"]
    for one in found["answered"]:
        rows = examples.filter(model=one["model"], task=one["task"]).unique("example")
        assert one["looked_at"] == len(rows) == 12
        assert one["argmax"] == rows["correct_by_argmax"].sum() == one["correct"]
        assert one["metric_above"] == rows["correct_by_metric"].sum()
        assert one["mean_metric"] == pytest.approx(float(np.mean(rows["clean_metric"].to_numpy())), abs=1e-4)
    for pair in found["kept"]:
        rows = examples.filter(pair=pair["pair"], task=pair["task"], side="before")
        assert pair["selected"] == pair["expected"] == rows["selected"].sum()
        assert pair["selected"] + sum(pair["dropped"].values()) == 12
    assert (found["forward"], found["backward"], found["patched"]) == (144, 72, 0)
    assert found["minutes"] > 0 and [one["model"] for one in found["passes"]] == ["before", "after", "continued"]


@pytest.mark.long
def test_a_look_at_a_few_is_told_in_words(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try", str(study), "--limit", "3"]) == 0
    shown = capsys.readouterr().out
    assert "  mine: 12 of 12 aligned" in shown
    assert "of 3 right (by argmax)" in shown and "of 12 in the run" in shown
    assert "whole run: about" in shown and "144 forward, 72 backward and 0 patched passes" in shown
    assert main(["plan", str(study), "--measure"]) == 0
    assert "time by passes measured now: " in capsys.readouterr().out


@pytest.mark.long
def test_what_would_make_the_study_fail_is_warned_of(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (study.parent / "pairs.jsonl").read_text().splitlines()]
    for line in lines:  # hardly anything is an answer now
        line["answer_ids"], line["foil_ids"] = [37], list(range(37))
    (study.parent / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = tried(study, capsys, "--limit", "12")
    said = "\n".join(found["warnings"])
    assert "pair 'shift' on 'mine': " in said and "below 5 there is no interval and no test" in said
    assert "hypothesis 'kept' can't be tested: too few prompts of pair 'shift' on 'mine', pair 'control'" in said
    assert "hypothesis 'earlier' can't be tested: too few prompts of pair 'shift' on 'mine'\n" in f"{said}\n"
    write_pairs(study.parent / "pairs.jsonl", 3)
    assert "task 'mine' has 3 prompts" in "\n".join(tried(study, capsys)["warnings"])


@pytest.mark.long
def test_a_metric_of_the_wrong_sign_is_warned_of(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {one["model"]: one for one in tried(study, capsys)["answered"] if one["metric_above"] < 6}
    said = [text for text in tried(study, capsys)["warnings"] if "prefers the foils" in text]
    assert len(said) == len(wrong)


@pytest.mark.long
def test_a_metric_that_is_the_same_on_the_corrupted_prompt_is_warned_of(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tried(study, capsys)
    assert [one["unmoved"] for one in found["answered"]] == [0, 0, 0]
    assert not any("corrupted" in text for text in found["warnings"])
    weights = load_file(study.parent / "before" / "model.safetensors")
    words = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = words[:1].repeat(len(words), 1)  # all tokens are read as the same one
    save_file(weights, study.parent / "before" / "model.safetensors", {"format": "pt"})
    found = tried(study, capsys)
    assert [(one["model"], one["unmoved"]) for one in found["answered"]] == [
        ("before", 12),
        ("after", 0),
        ("continued", 0),
    ]
    (said,) = [text for text in found["warnings"] if "corrupted" in text]
    assert said.startswith(
        "the metric of 'before' on 'mine' is the same on the corrupted prompt (within 1%) on 12 of 12 prompts, so that "
    )


def test_bad_input_is_an_error(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try", "nowhere.yaml"]) == 2
    assert main(["try", str(study), "--limit", "0"]) == 2
    (study.parent / "after" / "model.safetensors").write_bytes(b"")
    assert main(["try", str(study)]) in (2, 3)
    assert "Traceback" not in capsys.readouterr().err
