"""Which bank of words a task draws from, and what is said of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from small_tokenizers import trained
from task_draws import drawn_exercises
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError
from mechshift_core.extending import CounterfactualText
from mechshift_core.spec import load_spec
from mechshift_core.tasks import BUNDLED_TASKS, TASKS
from mechshift_core.tasks.banks import BUNDLED, NATURAL, Bank, bank_of, banks_of, in_words
from mechshift_core.tasks.blanks import asking
from mechshift_core.tasks.counterfactual import generated_dataset
from mechshift_core.tasks.encoding import Encoder

SPECS = Path(__file__).parents[2] / "specs"
DATA_SETS = {
    "quickstart": {
        "ioi": ("57e19df9b822f3ec", "b74d6b04ce709d66"),
        "countdown": ("2a7e9fb7638dc066", "538bcb469d5eda3c"),
    },
    "tiny-mechanism-shift": {
        "ioi": ("c755834546d59acf", "96910574d1391273"),
        "greater_than": ("d660103eb1d9c3c4", "c1670574b4b71571"),
        "countdown": ("ff5de8aefd7c5f43", "335edaea4c407047"),
        "infilling": ("d3e907d6d4916a8a", "5809d1659c9e8da0"),
    },
}
"""Digests of tokens and of roles, from before there were banks."""


@pytest.mark.long
@pytest.mark.parametrize("study", DATA_SETS)
def test_the_prompts_of_the_bundled_studies_are_the_same_to_the_token_and_role_as_ever(
    study: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    spec, encoder = load_spec(SPECS / f"{study}.yaml"), Encoder.of(tokenizer)
    found = {}
    for task in spec.tasks:
        assert task.examples is not None and task.seed is None
        drawn = in_words(TASKS[task.name], task.words, encoder)
        found[task.name] = generated_dataset(drawn, encoder, examples=task.examples, seed=spec.seed)
    digests = {task: (data.digest()[:16], data.role_digest()[:16]) for task, data in found.items()}
    assert digests == DATA_SETS[study]
    assert {(data.words, *data.dropped) for data in found.values()} == {(BUNDLED,)}


def of_words(words: list[str]) -> Encoder:
    """A word-level tokenizer of some words."""
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return Encoder.of(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>"))


def words_of(bank: Bank) -> list[str]:
    return list(dict.fromkeys(word for text in bank.texts for word in re.findall(r"\w+|[^\w\s]+", text)))


@pytest.mark.parametrize("name", TASKS)
def test_a_tokenizer_that_lacks_one_word_of_the_natural_bank_gets_the_bundled_one(name: str) -> None:
    words = words_of(banks_of(TASKS[name])[NATURAL].bank)
    complete = in_words(TASKS[name], "auto", of_words(words))
    assert bank_of(complete) is banks_of(TASKS[name])[NATURAL].bank
    for missing in (words[0], words[-1]):
        rest = of_words([word for word in words if word != missing])
        chosen = in_words(TASKS[name], "auto", rest)
        assert bank_of(chosen) is bank_of(TASKS[name]), missing
        with pytest.raises(ExecutionError, match=rf"task '{name}': the tokenizer of the models has no tokens for .*"
                           "which the natural bank has; leave `words` out, or take words: bundled"):  # fmt: skip
            in_words(TASKS[name], "natural", rest)
    assert bank_of(in_words(TASKS[name], "bundled", of_words(words))) is bank_of(TASKS[name])


@pytest.mark.parametrize("name", TASKS)
def test_a_tokenizer_of_bytes_gets_the_natural_bank_and_the_bundled_one_its_own(
    name: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    in_bytes = Encoder.of(trained(r"\d", ["a"], vocabulary=300))
    assert bank_of(in_words(TASKS[name], "auto", in_bytes)) is banks_of(TASKS[name])[NATURAL].bank
    assert bank_of(in_words(TASKS[name], "auto", Encoder.of(tokenizer))) is bank_of(TASKS[name])


def test_a_bank_s_texts_are_its_frames_without_slots_and_its_words_in_every_form() -> None:
    bank = Bank("mine", {"f": "The {a} {b} of {a} ."}, {"a": ("cat", "dog"), "b": ("is/are",)})
    assert bank.texts == ("The", "of", ".", "cat", "dog", "is", "are")


class Bare:
    """A task from outside, as they were before there were banks."""

    name, regime, metric, judged_by, summary, roles = "bare", "local", "logit_difference", "argmax", "a name", ()

    def counterfactual(self, rng: object) -> CounterfactualText:
        raise AssertionError("not drawn")


def test_a_task_without_banks_is_drawn_as_it_is(tokenizer: PreTrainedTokenizerFast) -> None:
    task = Bare()
    assert banks_of(task) == {} and bank_of(task) is None
    chosen = in_words(task, "auto", Encoder.of(tokenizer))  # type: ignore[arg-type]
    assert asking(chosen, "afterwards") is task  # type: ignore[comparison-overlap]


def test_the_bank_of_a_data_set_is_in_its_account_and_survives_json(tokenizer: PreTrainedTokenizerFast) -> None:
    dataset = generated_dataset(TASKS["ioi"], tokenizer, examples=30, seed=0)
    assert type(dataset).from_json(dataset.to_json()) == dataset
    assert str(dataset.account) == "30 of 30 aligned; bundled words, 8 templates"
    assert (dataset.account.to_json()["words"], dataset.account.to_json()["templates"]) == ("bundled", 8)
    older = json.loads(dataset.to_json())
    del older["words"]
    assert str(type(dataset).from_json(json.dumps(older)).account) == "30 of 30 aligned"


@pytest.mark.long
def test_validate_says_which_words_a_task_draws_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "study.yaml"
    text = (SPECS / "quickstart.yaml").read_text()
    spec.write_text(text)
    assert main(["validate", str(spec)]) == 0
    assert "  ioi: 120 of 120 aligned; bundled words, 8 templates\n" in capsys.readouterr().out
    assert main(["validate", str(spec), "--json"]) == 0
    tasks = json.loads(capsys.readouterr().out)["specs"][0]["tasks"]
    assert [(task["words"], task["templates"]) for task in tasks] == [("bundled", 8), ("bundled", 4)]
    line = next(line for line in text.splitlines() if "name: ioi" in line)
    spec.write_text(text.replace(line, line.replace("name: ioi", "name: ioi, words: natural")))
    assert main(["validate", str(spec)]) == 2
    error = capsys.readouterr().err
    assert f"study.yaml:{text.splitlines().index(line) + 1}:" in error and "has no tokens for" in error


def test_the_list_shows_the_banks_of_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["tasks"]
    assert listed["ioi"].endswith("(words: bundled, 4 wordings; natural, 25 wordings)")
    assert listed["countdown"].endswith("(words: bundled, 1 wording; natural, 6 wordings)")
    assert all("natural, " in text for text in listed.values())


def test_the_words_of_the_bundled_models_are_those_of_the_bundled_banks(tokenizer: PreTrainedTokenizerFast) -> None:
    for name in BUNDLED_TASKS:
        assert drawn_exercises(TASKS[name], 5) == drawn_exercises(banks_of(TASKS[name])[BUNDLED], 5)
