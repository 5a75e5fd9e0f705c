"""How text becomes tokens: beginnings, unknown words, spaces, holes, and ids that no model has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from real_tokenizer import real_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks import TASKS, CounterfactualText
from mechshift_core.tasks.counterfactual import Dataset, Example, align, generated_dataset
from mechshift_core.tasks.custom import custom_dataset
from mechshift_core.tasks.encoding import (
    LOST_CHARACTER,
    MASK_IN_PROMPT,
    UNKNOWN_WORD,
    Encoder,
    begin_ids,
    unknown_token,
)

PAIR = CounterfactualText("t", "Mary and John gave", "Mary and Tom gave", ("Mary",), ("John",), "key")
WORDS = "Mary and John Tom gave a drink to Anna :".split()


def words(*, begin: bool = False, end: bool = False, **tokens: str | None) -> PreTrainedTokenizerFast:
    """A word-level tokenizer, which may put `<s>` before every text and `</s>` behind it."""
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if begin or end:
        single = f"{'<s> ' if begin else ''}$A{' </s>' if end else ''}"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    named = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", **tokens}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{name: token for name, token in named.items() if token is not None}
    )


def byte_level(*texts: str, unk: str | None = "<|endoftext|>") -> PreTrainedTokenizerFast:
    """A byte-level tokenizer as GPT-2's: one token is beginning, end and, by name only, unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(["", *WORDS, *WORDS]), *texts] * 3, trainer)
    names = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", **({"unk_token": unk} if unk else {})}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    return real_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def example(text: CounterfactualText, tokenizer: PreTrainedTokenizerFast | Encoder) -> Example:
    found = align(text, tokenizer)
    assert isinstance(found, Example), found
    return found


def custom(tmp_path: Path, row: dict[str, Any], tokenizer: Any, **options: Any) -> Dataset:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return custom_dataset("mine", path, tokenizer, **{"examples": 10, "vocabulary": 100_000, **options})


class TestBeginning:
    @pytest.mark.parametrize("task", [task for task in TASKS if task in ("ioi", "sva", "greater_than")])
    def test_prompts_of_a_real_tokenizer_are_what_it_makes_of_the_text(
        self, task: str, real: PreTrainedTokenizerFast
    ) -> None:
        for one in generated_dataset(TASKS[task], real, examples=20, seed=0).examples:
            assert list(one.clean_ids) == real(one.clean)["input_ids"]
            assert list(one.corrupt_ids) == real(one.corrupt)["input_ids"]
            assert one.clean_ids[0] == real.bos_token_id and one.roles[0] == "bos" and "bos" not in one.roles[1:]
            assert one.added == (real.bos_token_id,)

    def test_the_rest_of_a_prompt_is_that_of_the_tokenizer_without_a_beginning(self) -> None:
        plain, begun = example(PAIR, words()), example(PAIR, words(begin=True))
        assert begun.clean_ids == (1, *plain.clean_ids) and begun.corrupt_ids == (1, *plain.corrupt_ids)
        assert begun.roles == ("bos", *plain.roles)
        assert (begun.answer_ids, begun.foil_ids, begun.revealed) == (plain.answer_ids, plain.foil_ids, plain.revealed)

    def test_a_completion_that_is_revealed_in_part_is_cut_at_the_same_word(self) -> None:
        text = replace(PAIR, completion_start=len("Mary and "), remainder="a drink", corrupt_remainder="a drink")
        text = replace(text, corrupt="Anna and John gave")
        plain, begun = example(text, words()), example(text, words(begin=True))
        assert plain.revealed == begun.revealed == 2 and plain.masks == begun.masks == 3
        assert plain.clean_rest_ids == begun.clean_rest_ids == tuple(words()("a drink")["input_ids"])

    def test_a_text_that_begins_with_the_token_gets_no_second_one(self) -> None:
        written = replace(PAIR, clean=f"<s> {PAIR.clean}", corrupt=f"<s> {PAIR.corrupt}")
        once = example(written, words(begin=True))
        assert once.clean_ids == example(PAIR, words(begin=True)).clean_ids
        assert once.roles[:2] == ("bos", "other") and once.added == ()

    def test_one_prompt_with_it_and_one_without_are_no_pair(self) -> None:
        reason = align(replace(PAIR, clean=f"<s> {PAIR.clean}"), words(begin=True))
        assert reason == "only one of the prompts begins with the beginning-of-sequence token"

    def test_what_a_tokenizer_puts_behind_a_text_is_left_out(self) -> None:
        assert example(PAIR, words(begin=True, end=True)).clean_ids == example(PAIR, words(begin=True)).clean_ids
        assert example(PAIR, words(end=True)).clean_ids == example(PAIR, words()).clean_ids

    @pytest.mark.parametrize(
        ("begin", "wanted", "found"),
        [(True, None, (1,)), (True, True, (1,)), (True, False, ()), (False, None, ()), (False, True, (1,))],
    )
    def test_the_declaration_goes_before_the_tokenizer(
        self, begin: bool, wanted: bool | None, found: tuple[int, ...]
    ) -> None:
        assert begin_ids(words(begin=begin), wanted) == found

    @pytest.mark.parametrize("kind", ["no unknown token", "unknown is the beginning", "characters without a"])
    def test_it_is_found_whatever_the_vocabulary_can_encode(self, kind: str) -> None:
        unk, text = {"unknown is the beginning": "<s>"}.get(kind), "Mary gave"
        entries = {word: number for number, word in enumerate(["<s>", *WORDS[:1], *WORDS[1:5]])}
        if kind == "characters without a":
            tokenizer, text = Tokenizer(models.BPE({"<s>": 0, "M": 1, "g": 2}, [])), "Mg"
        else:
            tokenizer = Tokenizer(models.WordLevel(entries, **({} if unk is None else {"unk_token": unk})))
            tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
        assert begin_ids(fast, None) == begin_ids(fast, True) == (0,)
        assert list(Encoder.of(fast).text(text)) == fast(text)["input_ids"]

    def test_where_no_text_tells_it_has_to_be_declared(self) -> None:
        fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<s>": 0})), bos_token="<s>")
        with pytest.raises(ExecutionError, match="m: what the tokenizer puts before a text can't be told"):
            begin_ids(fast, None, source="m")
        assert (begin_ids(fast, True), begin_ids(fast, False)) == ((0,), ())

    def test_a_token_that_there_is_not_can_not_be_asked_for(self) -> None:
        with pytest.raises(ExecutionError, match="no beginning-of-sequence token; leave it out"):
            begin_ids(words(bos_token=None), True, source="m")

    def test_another_models_beginning_takes_the_place_of_the_first_ones(self) -> None:
        plain, begun = example(PAIR, words()), example(PAIR, words(begin=True))
        assert plain.begun((1,)) == begun and begun.begun(()) == plain
        assert plain.begun(()) is plain and begun.begun((1,)) is begun

    def test_what_the_user_wrote_is_kept_whatever_a_model_begins_with(self) -> None:
        written = replace(PAIR, clean=f"<s> {PAIR.clean}", corrupt=f"<s> {PAIR.corrupt}")
        for one in (example(written, words()), example(written, words(begin=True))):
            assert one.begun(()).clean_ids == one.begun((1,)).clean_ids == (1, *example(PAIR, words()).clean_ids)

    def test_given_tokens_stay_as_they_are(self, tmp_path: Path) -> None:
        row = {"clean_ids": [4, 5, 6], "corrupt_ids": [4, 7, 6], "answer_ids": 8, "foil_ids": 9}
        dataset = custom(tmp_path, row, words(begin=True))
        assert dataset.examples[0].clean_ids == (4, 5, 6) and dataset.begun((1,)) is dataset

    def test_it_survives_being_stored(self, real: PreTrainedTokenizerFast) -> None:
        dataset = generated_dataset(TASKS["ioi"], real, examples=3, seed=0)
        assert Dataset.from_json(dataset.to_json()) == dataset


class TestUnknown:
    @pytest.mark.parametrize("unk", ["<|endoftext|>", None])
    def test_nothing_is_unknown_to_bytes(self, unk: str | None) -> None:
        tokenizer = byte_level(unk=unk)
        text = replace(PAIR, clean=f"<|endoftext|>{PAIR.clean}", corrupt=f"<|endoftext|>{PAIR.corrupt}")
        found = example(text, tokenizer)
        assert list(found.clean_ids) == tokenizer(text.clean)["input_ids"]
        assert found.roles[0] == "bos"
        assert unknown_token(tokenizer) is None

    def test_an_answer_may_be_the_end_of_text(self) -> None:
        text = replace(PAIR, answers=("<|endoftext|>",), joiner="")
        assert example(replace(text, foils=(" John",)), byte_level()).answer_ids == (0,)

    def test_an_unknown_token_that_is_written_out_is_known(self) -> None:
        text = replace(PAIR, clean="Mary and <unk> gave", corrupt="Mary and Tom gave")
        assert example(text, words()).clean_ids[2] == 0
        assert align(replace(text, clean="Mary and <unk> Wolfgang"), words()) == UNKNOWN_WORD

    def test_a_vocabulary_without_its_unknown_token_refuses_the_pair_only(self) -> None:
        tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        assert isinstance(align(PAIR, fast), Example)
        assert align(replace(PAIR, clean="Mary and Wolfgang gave"), fast) == UNKNOWN_WORD
        assert align(replace(PAIR, answers=("Wolfgang",)), fast) == "an answer or foil is not a single token"

    def test_a_character_that_is_left_out_is_noticed(self) -> None:
        tokenizer = Tokenizer(models.BPE({c: n for n, c in enumerate("ab ")}, []))
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        text = CounterfactualText("t", "aab", "abb", ("a",), ("b",), "k", joiner="")
        assert example(text, fast).clean_ids == (0, 0, 1)
        assert align(replace(text, clean="axab"), fast) == LOST_CHARACTER
        assert align(replace(text, clean="aabx"), fast) == LOST_CHARACTER

    @pytest.mark.parametrize("text", ["Ünïcödé", "東京は", "a 😀 b", "x\ty\nz", "a\u00a0b", "e\u0301"])
    def test_no_character_of_any_language_is_lost_by_bytes(self, text: str, real: PreTrainedTokenizerFast) -> None:
        for tokenizer in (real, byte_level()):
            assert list(Encoder.of(tokenizer).text(text)) == tokenizer(text)["input_ids"]

    def test_unigram_models_name_theirs_by_number(self) -> None:
        tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0)], unk_id=0))
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        assert unknown_token(fast) == "<unk>"
        assert align(CounterfactualText("t", "ax", "ab", ("a",), ("b",), "k", joiner=""), fast) == UNKNOWN_WORD


class TestSpaces:
    @pytest.mark.parametrize("end", ["", " ", "  "])
    @pytest.mark.parametrize("start", ["", " "])
    def test_there_is_one_space_in_all(self, end: str, start: str, tmp_path: Path) -> None:
        tokenizer = byte_level()
        row = {"clean": f"{PAIR.clean}{end}", "corrupt": f"{PAIR.corrupt}{end}"}
        (found,) = custom(tmp_path, {**row, "answer": f"{start}Mary", "foil": [f"{start}John"]}, tokenizer).examples
        assert tokenizer.decode([*found.clean_ids, *found.answer_ids]) == "Mary and John gave Mary"
        assert (found.clean, found.answer, found.foil) == ("Mary and John gave", "Mary", "John")
        assert found.clean_ids == example(PAIR, tokenizer).clean_ids

    def test_nothing_more_follows_a_line_break(self, tmp_path: Path) -> None:
        tokenizer = byte_level("gave\nMary\nJohn")
        row = {"clean": "Tom gave\n", "corrupt": "Anna gave\n", "answer": "Mary", "foil": "John"}
        (found,) = custom(tmp_path, row, tokenizer).examples
        assert tokenizer.decode([*found.clean_ids, *found.answer_ids]) == "Tom gave\nMary"

    def test_languages_without_spaces_say_so(self, tmp_path: Path, real: PreTrainedTokenizerFast) -> None:
        row = {"clean": "日本", "corrupt": "中国", "answer": "人", "foil": "国"}
        (spaced,) = custom(tmp_path, row, real).examples
        assert [*spaced.clean_ids, *spaced.answer_ids] == real("日本 人")["input_ids"]
        (found,) = custom(tmp_path, row, real, delimiter="").examples
        assert [*found.clean_ids, *found.answer_ids] == real("日本人")["input_ids"]

    @pytest.mark.parametrize(
        ("delimiter", "end", "start", "prompt", "answer"),
        [
            ("\n", "", "", "Mary and John gave\n", "Mary"),
            ("\n", "\n", "", "Mary and John gave\n", "Mary"),
            ("\n", " ", "", "Mary and John gave", " Mary"),
            ("\n", "", " ", "Mary and John gave", " Mary"),
            (":", "", "", "Mary and John gave:", "Mary"),
            (":", "", " ", "Mary and John gave:", " Mary"),
            (": ", "", "", "Mary and John gave:", " Mary"),
            (": ", " ", "", "Mary and John gave:", " Mary"),
            (" ->  ", "", " ", "Mary and John gave ->", " Mary"),
        ],
    )
    def test_a_delimiter_of_more_than_spaces_ends_the_prompt(
        self, delimiter: str, end: str, start: str, prompt: str, answer: str, tmp_path: Path
    ) -> None:
        tokenizer = byte_level("gave\nMary\nJohn:Mary")
        row = {"clean": f"{PAIR.clean}{end}", "corrupt": f"{PAIR.corrupt}{end}"}
        row |= {"answer": f"{start}Mary", "foil": f"{start}John"}
        (found,) = custom(tmp_path, {**row, "roles": [["s", 0, 4]]}, tokenizer, delimiter=delimiter).examples
        assert list(found.clean_ids) == tokenizer(prompt)["input_ids"] and found.clean == prompt
        assert [*found.clean_ids, *found.answer_ids] == tokenizer(f"{prompt}{answer}")["input_ids"]
        assert found.roles[0] == "s" and found.roles[-1] == "end"

    def test_a_role_ends_where_the_prompt_does(self, tmp_path: Path) -> None:
        row = {"clean": "Mary gave ", "corrupt": "Tom gave ", "answer": "John", "foil": "Anna"}
        (found,) = custom(tmp_path, {**row, "roles": [["s", 0, 4], ["verb", 5, 10], ["gap", 9, 10]]}, words()).examples
        assert found.roles == ("s", "verb")


class TestTokensThatCanNotBe:
    @pytest.mark.parametrize("word", ["Mary", "gave", "John", "drink"])
    def test_a_mask_token_anywhere_is_a_hole(self, word: str) -> None:
        tokenizer = words()
        text = replace(PAIR, remainder="a drink", corrupt_remainder="a drink")
        hole = frozenset({tokenizer.convert_tokens_to_ids(word)})
        assert align(text, Encoder(tokenizer, holes=hole)) == MASK_IN_PROMPT
        assert isinstance(align(text, Encoder(tokenizer, holes=frozenset({2}))), Example)

    @pytest.mark.parametrize("hole", [4, 7, 8, 9])
    def test_so_it_is_among_given_tokens(self, hole: int, tmp_path: Path) -> None:
        row = {"clean_ids": [4, 5], "corrupt_ids": [7, 5], "answer_ids": [8, 3], "foil_ids": 9}
        with pytest.raises(ExecutionError, match=f"1 x {MASK_IN_PROMPT}"):
            custom(tmp_path, row, None, holes=frozenset({hole}))

    def test_text_beyond_the_embedding_is_dropped_as_ids_are(self, tmp_path: Path) -> None:
        tokenizer = words()
        row = {"clean": PAIR.clean, "corrupt": PAIR.corrupt, "answer": "Anna", "foil": "to"}
        size = tokenizer.convert_tokens_to_ids("Anna")
        with pytest.raises(ExecutionError, match=f"1 x a token id is outside the vocabulary of {size}"):
            custom(tmp_path, row, tokenizer, vocabulary=size)
        assert len(custom(tmp_path, row, tokenizer, vocabulary=size + 1).examples) == 1
        assert align(PAIR, Encoder(tokenizer, vocabulary=5)) == "a token id is outside the vocabulary of 5"

    def test_a_token_counts_once_in_a_set(self, tmp_path: Path) -> None:
        row = {"clean_ids": [4, 5], "corrupt_ids": [7, 5], "answer_ids": [8, 3, 8], "foil_ids": [9, 9]}
        (found,) = custom(tmp_path, row, None).examples
        assert (found.answer_ids, found.foil_ids) == ((8, 3), (9,))
        text = replace(PAIR, answers=("Mary", "Anna", " Mary"), foils=("John", "John"))
        assert len(example(text, words()).answer_ids) == 2 and len(example(text, words()).foil_ids) == 1

    def test_a_prompt_without_a_token_is_none(self) -> None:
        text = replace(PAIR, clean=" ", corrupt="  ")
        assert align(text, words(begin=True)) == "the tokenizer makes nothing of the prompt"
