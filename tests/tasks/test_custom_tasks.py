from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks.counterfactual import Dataset
from mechshift_core.tasks.custom import TextLine, TokenLine, custom_dataset, read_lines
from mechshift_core.zoo.vocabulary import build_tokenizer

TEXT = {"clean": "Mary and John gave", "corrupt": "Mary and Tom gave", "answer": "Mary", "foil": "John"}
TOKENS = {"clean_ids": [4, 5, 6], "corrupt_ids": [4, 7, 6], "answer_ids": 8, "foil_ids": [9, 10], "template": "mine"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pairs.jsonl"


def lines(*rows: object) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"


def load(path: Path, tokenizer: PreTrainedTokenizerBase | None = None, **options: Any) -> Dataset:
    return custom_dataset("mine", path, tokenizer, **{"examples": 10, "vocabulary": 1000, **options})


def test_text_lines_become_aligned_examples(path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    path.write_text(lines(TEXT, {**TEXT, "clean": "Anna and John gave", "answer": ["Mary", "Anna"], "template": "two"}))
    one, two = load(path, tokenizer).examples
    assert tokenizer.convert_ids_to_tokens(list(one.clean_ids)) == TEXT["clean"].split()
    assert tokenizer.convert_ids_to_tokens([*two.answer_ids, *two.foil_ids]) == ["Mary", "Anna", "John"]
    assert (one.template, two.template, one.masks) == ("custom", "two", 1)


def test_a_key_that_is_there_twice_is_refused(path: Path) -> None:
    path.write_text('{"clean": "Mary gave", "clean": "Tom gave", "corrupt": "John gave", "answer": "a", "foil": "b"}\n')
    with pytest.raises(ExecutionError, match=r"pairs\.jsonl:1: .*the key 'clean' is there twice"):
        load(path)


def test_token_lines_need_no_tokenizer(path: Path) -> None:
    path.write_text(lines(TOKENS))
    dataset = load(path)
    (example,) = dataset.examples
    assert (example.clean_ids, example.corrupt_ids) == ((4, 5, 6), (4, 7, 6))
    assert (example.answer_ids, example.foil_ids, example.masks, example.template) == ((8,), (9, 10), 1, "mine")
    assert (example.clean, example.corrupt, example.answer, example.foil) == ("4 5 6", "4 7 6", "8", "9 10")
    assert (dataset.task, dataset.metric, dataset.asked, dataset.dropped) == ("mine", "logit_difference", 10, {})
    assert (dataset.lines, dataset.left_out, dataset.judged_by) == (1, 0, "argmax")


def test_all_aligned_pairs_are_read_in_the_order_of_the_file_and_every_other_pair_counted(path: Path) -> None:
    rows: list[dict[str, Any]] = [{**TOKENS, "clean_ids": [4, 5, n]} for n in range(5)]
    path.write_text(lines({**TOKENS, "corrupt_ids": [4]}, "", *rows, {**TOKENS, "foil_ids": 8}))
    dataset = load(path, examples=None)
    assert [example.clean_ids[-1] for example in dataset.examples] == [0, 1, 2, 3, 4]
    unequal, same = "clean and corrupted prompt differ in their number of tokens", "answer and foil are the same token"
    assert dataset.dropped == {unequal: 1, same: 1}
    assert dataset.dropped_lines == {unequal: (1,), same: (8,)}, "empty lines count as lines of the file"
    assert (dataset.asked, dataset.lines, dataset.left_out) == (7, 7, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"clean_ids": [4, 5, 20]}, "a token id is outside the vocabulary of 20"),
        ({"corrupt_ids": [4, 10**30, 6]}, "a token id is outside the vocabulary of 20"),
        ({"answer_ids": 20}, "a token id is outside the vocabulary of 20"),
        ({"foil_ids": [9, 20]}, "a token id is outside the vocabulary of 20"),
        ({"corrupt_ids": [4, 5]}, "clean and corrupted prompt differ in their number of tokens"),
        ({"corrupt_ids": [4, 5, 6]}, "clean and corrupted prompt are the same"),
        ({"answer_ids": [8, 9]}, "answer and foil are the same token"),
    ],
)
def test_a_file_without_an_aligned_pair_is_an_error_with_the_reasons(
    change: dict[str, Any], reason: str, path: Path
) -> None:
    path.write_text(lines({**TOKENS, **change}, {**TOKENS, **change}))
    with pytest.raises(ExecutionError) as error:
        load(path, vocabulary=20)
    assert str(error.value) == f"task 'mine': no pair of {path} is aligned (2 x {reason})"


def test_the_last_token_of_the_vocabulary_is_inside(path: Path) -> None:
    path.write_text(lines({**TOKENS, "foil_ids": 19}))
    assert load(path, vocabulary=20).examples[0].foil_ids == (19,)


def test_text_without_a_tokenizer_is_an_error(path: Path) -> None:
    path.write_text(lines(TOKENS, TEXT))
    with pytest.raises(ExecutionError, match=r"holds text, but the model has no tokenizer; give token ids instead"):
        load(path)


@pytest.mark.parametrize("content", ["", "\n \n\t\n"])
def test_an_empty_file_is_an_error(content: str, path: Path) -> None:
    path.write_text(content)
    assert read_lines(path) == []
    with pytest.raises(ExecutionError, match=r"no pair of .*pairs\.jsonl is aligned \(the file is empty\)"):
        load(path)


def test_a_file_that_is_missing_a_folder_or_not_utf_8_is_an_error(path: Path, tmp_path: Path) -> None:
    for broken in (path, tmp_path):
        with pytest.raises(ExecutionError, match=f"dataset {broken} cannot be read: "):
            read_lines(broken)
    path.write_bytes(lines(TEXT).encode("utf-16"))
    with pytest.raises(ExecutionError, match="cannot be read: 'utf-8' codec can't decode"):
        read_lines(path)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "not a JSON object: "),
        ("[1]", "not a JSON object: expected an object, got a list"),
        ("null", "not a JSON object: expected an object, got nothing"),
        ("[" * 100_000, "not a JSON object: maximum recursion depth"),
        ("1" * 5000, "not a JSON object: Exceeds the limit"),
        ({k: v for k, v in TEXT.items() if k != "foil"}, "missing key 'foil'"),
        ({**TEXT, "fiol": "x"}, "unknown key 'fiol' (did you mean 'foil'?)"),
        ({**TEXT, "clean": ""}, "clean: expected text that is not empty, got ''"),
        ({**TEXT, "clean": 3}, "clean: expected text, got 3 (write it in quotes for text)"),
        ({**TEXT, "clean": "\ud800"}, "clean: expected valid Unicode text, got '\\ud800'"),
        ({**TEXT, "\ud800": 1}, "expected keys of valid Unicode text, got half of a surrogate pair"),
        ({**TEXT, "answer": ["Mary", ""]}, "answer.1: expected text that is not empty, got ''"),
        ({**TEXT, "clean_ids": [1]}, "missing key 'corrupt_ids'"),
        ({**TOKENS, "clean_ids": []}, "clean_ids: expected at least 1 item, got 0"),
        ({**TOKENS, "clean_ids": [1, "2"]}, "clean_ids.1: expected an integer, got '2'"),
        ({**TOKENS, "clean_ids": [1, True]}, "clean_ids.1: expected an integer, got true"),
        ({**TOKENS, "clean_ids": [1, 2.0]}, "clean_ids.1: expected an integer, got 2.0"),
        ({**TOKENS, "answer_ids": -1}, "answer_ids: expected a number not below 0 or a list, got -1"),
        ({**TEXT, "answer": 5}, "answer: expected text or a list, got 5"),
        ({**TEXT, "clean": None}, "clean: expected text, got nothing"),
        ({**TEXT, "roles": [["name", 0, "3"]]}, "roles.0.2: expected an integer, got '3'"),
        ({**TEXT, "roles": [["name", 0]]}, "roles.0.2: missing"),
        ({**TEXT, "roles": 7}, "roles: expected a list, got 7"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(row: object, complaint: str, path: Path) -> None:
    path.write_text(lines(TOKENS, "", row, TOKENS))
    with pytest.raises(ExecutionError) as error:
        read_lines(path)
    (message,) = str(error.value).splitlines()
    assert message.startswith(f"{path}:3: {complaint}")


def test_every_malformed_line_is_named_up_to_ten(path: Path) -> None:
    path.write_text(lines(TEXT, *["{"] * 12))
    with pytest.raises(ExecutionError) as error:
        read_lines(path)
    *named, more = str(error.value).splitlines()
    assert [line.split(":")[1] for line in named] == [str(n) for n in range(2, 12)]
    assert more == "... and 2 more"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_only_newlines_end_a_line(separator: str, path: Path) -> None:
    row = json.dumps({**TEXT, "clean": f"a{separator}b"}, ensure_ascii=False)
    path.write_bytes(f"\ufeff{row}\r\n{json.dumps(TOKENS)}".encode())
    first, second = read_lines(path)
    assert isinstance(first, TextLine) and first.clean == f"a{separator}b"
    assert isinstance(second, TokenLine)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
ids = st.lists(st.integers(0, 21), min_size=1, max_size=3)
words = st.lists(st.sampled_from(["Mary ", "John ", "1", " ", "\x00", "é", "\ud800"]), min_size=1, max_size=4).map(
    "".join
)
token_rows = st.fixed_dictionaries(
    {"clean_ids": ids, "corrupt_ids": ids, "answer_ids": ids | st.integers(0, 21), "foil_ids": ids}
)
text_rows = st.fixed_dictionaries({"clean": words, "corrupt": words, "answer": words | st.lists(words), "foil": words})
nearly = st.builds(
    lambda row, key, value: {**row, key: value},
    token_rows | text_rows,
    st.sampled_from([*TEXT, *TOKENS, "roles"]),
    anything | st.lists(st.sampled_from(["s1", ["s1", 0, 1], ["s2", 1, 4]]), max_size=3),
)
rows = st.one_of(token_rows, text_rows, nearly, anything).map(json.dumps) | st.text(max_size=20)


@pytest.mark.long
@settings(deadline=None, derandomize=True, max_examples=300)
@given(content=st.lists(rows, max_size=4), end=st.binary(max_size=2))
def test_any_file_is_a_dataset_of_aligned_examples_or_one_clear_error(
    content: list[str], end: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes("\n".join(content).encode("utf-8", "surrogatepass") + end)
    try:
        dataset = custom_dataset("mine", path, FUZZED, examples=3, vocabulary=len(FUZZED), seed=1)
    except ExecutionError as error:
        assert str(path) in str(error)
        return
    assert 1 <= len(dataset.examples) <= 3
    for example in dataset.examples:
        assert len(example.clean_ids) == len(example.corrupt_ids) == len(example.roles) > 0
        assert example.clean_ids != example.corrupt_ids
        assert not set(example.answer_ids) & set(example.foil_ids) and example.answer_ids and example.foil_ids
        assert Dataset.from_json(dataset.to_json()) == dataset
    account = dataset.account
    assert account.found == account.aligned + sum(account.dropped.values()) and account.read == len(dataset.examples)
    assert len({example.clean_ids for example in dataset.examples}) == len(dataset.examples)


FUZZED = build_tokenizer()
