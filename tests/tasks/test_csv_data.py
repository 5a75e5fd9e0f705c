"""Prompts as EAP-IG and CircuitKIT write them: the same checks and the same numbers of rows as JSON Lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks.counterfactual import Dataset
from mechshift_core.tasks.csv_rows import MixedLine
from mechshift_core.tasks.custom import TextLine, custom_dataset, read_lines

PANDAS = """,clean,corrupted,corrupted_hard,correct_idx,incorrect_idx
470,"Mary and John gave","Mary and Tom gave","x, y",{mary},{john}
184,Anna and John gave,Anna and Tom gave,"x",{anna},"[{john}, {tom}]"
"""
KIT = """prompt,answer,corrupted_prompt,corrupted_answer
Mary and John gave,Mary,Mary and Tom gave,John
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pairs.csv"


def load(path: Path, tokenizer: PreTrainedTokenizerBase | None = None, **options: Any) -> Dataset:
    return custom_dataset("mine", path, tokenizer, **{"vocabulary": 1000, **options})


def ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    return {word.lower(): int(tokenizer.convert_tokens_to_ids(word)) for word in ("Mary", "John", "Anna", "Tom")}


def test_token_ids_beside_text_are_the_tokens_that_are_compared(path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    known = ids(tokenizer)
    path.write_text(PANDAS.format(**known))
    one, two = load(path, tokenizer).examples
    assert tokenizer.convert_ids_to_tokens(list(one.clean_ids)) == ["Mary", "and", "John", "gave"]
    assert (one.answer_ids, one.foil_ids) == ((known["mary"],), (known["john"],))
    assert (two.answer_ids, two.foil_ids) == ((known["anna"],), (known["john"], known["tom"]))
    assert (one.answer, two.foil, one.template, one.masks) == ("Mary", "John Tom", "custom", 1)


def test_answers_as_text_are_those_of_json_lines(path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    path.write_text(KIT)
    (path.parent / "pairs.jsonl").write_text(
        '{"clean": "Mary and John gave", "corrupt": "Mary and Tom gave", "answer": "Mary", "foil": "John"}\n'
    )
    assert load(path, tokenizer).examples == load(path.parent / "pairs.jsonl", tokenizer).examples
    assert isinstance(read_lines(path)[0], TextLine)


@pytest.mark.parametrize("text", [KIT.replace("\n", "\r\n"), "\ufeff" + KIT, KIT + "\n,,,\n"])
def test_line_ends_marks_and_empty_rows_do_not_matter(text: str, path: Path) -> None:
    path.write_bytes(text.encode())
    assert len(read_lines(path)) == 1


def test_pairs_that_do_not_align_are_dropped_with_their_rows(path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    known = ids(tokenizer)
    path.write_text(
        "clean,corrupted,correct_idx,incorrect_idx\n"
        + f"Mary and John gave,Mary and Tom gave,{known['mary']},{known['john']}\n"
        + f"Mary and John gave,Mary gave,{known['mary']},{known['john']}\n"
        + f"Anna and John gave,Anna and John gave,{known['mary']},{known['john']}\n"
        + f"Anna and Tom gave,Anna and John gave,{known['mary']},{known['mary']}\n"
        + f"Tom and Anna gave,Tom and John gave,{known['mary']},999999\n"
        + f"Mary and John gave,Mary and Tom gave,{known['mary']},{known['john']}\n"
        + f"Zebra and John gave,Mary and Tom gave,{known['mary']},{known['john']}\n"
    )
    dataset = load(path, tokenizer)
    assert len(dataset.examples) == 1 and dataset.lines == 7
    lines = dataset.dropped_lines
    assert lines["clean and corrupted prompt differ in their number of tokens"] == (3,)
    assert lines["clean and corrupted prompt are the same"] == (4,)
    assert lines["answer and foil are the same token"] == (5,)
    assert lines["a token id is outside the vocabulary of 1000"] == (6,)
    assert lines["a word is not in the vocabulary"] == (8,)
    assert sorted(number for numbers in lines.values() for number in numbers) == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clean,corrupted,correct_idx\na,b,1\n", r":1: expected a column foil or incorrect_idx"),
        ("clean,corrupted,label\na,b,52\n", r":1: .*`label` is a year.*use the task greater_than"),
        ("clean,corrupted,answer,correct_idx,foil\n", r":1: the answer stands in several columns"),
        ("clean,clean,corrupted,answer,foil\n", r":1: the clean stands in several columns"),
        ("clean,corrupted,answer,incorrect_idx\n", r":1: answer and incorrect_idx: expected token ids in both"),
        ("clean,corrupted,correct_idx,incorrect_idx\na,b,1\n", r":2: expected 4 fields as in the first line, got 3"),
        ("clean,corrupted,correct_idx,incorrect_idx\na,b,x,2\n", r":2: correct_idx: expected a token id.*got 'x'"),
        ("clean,corrupted,correct_idx,incorrect_idx\na,b,-1,2\n", r":2: correct_idx: expected a token id"),
        ("clean,corrupted,correct_idx,incorrect_idx\na,b,1,[]\n", r":2: incorrect_idx: expected a token id"),
        ("clean,corrupted,correct_idx,incorrect_idx\na,b,1,nan\n", r":2: incorrect_idx: expected a token id"),
        ("clean,corrupted,correct_idx,incorrect_idx\n,b,1,2\n", r":2: clean: expected text that is not empty"),
        ('clean,corrupted,answer,foil\n"a,b,c,d\n', r":2: not CSV"),
    ],
)
def test_what_is_wrong_is_said_with_its_row(text: str, message: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(ExecutionError, match=r"pairs\.csv" + message):
        read_lines(path)


def test_a_row_over_several_lines_has_the_number_of_its_last(path: Path) -> None:
    path.write_text('clean,corrupted,correct_idx,incorrect_idx\n"a\nb",c,1,2\na,b,x,1\n')
    with pytest.raises(ExecutionError, match=r"pairs\.csv:4: correct_idx"):
        read_lines(path)
    path.write_text('clean,corrupted,correct_idx,incorrect_idx\n"a\nb",c,1.0,2\n')
    assert read_lines(path) == [MixedLine(clean="a\nb", corrupt="c", answer_ids=1, foil_ids=2)]


def test_only_regular_files_of_a_limited_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ExecutionError, match="no regular file"):
        read_lines(tmp_path / "pipe.csv")
    for name in ("large.csv", "large.jsonl"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**30)
        with pytest.raises(ExecutionError, match="it has 1024 MiB; at most 256 MiB are read"):
            read_lines(tmp_path / name)
    (tmp_path / "latin.csv").write_bytes("clean,é".encode("latin-1"))
    with pytest.raises(ExecutionError, match="cannot be read: 'utf-8' codec"):
        read_lines(tmp_path / "latin.csv")
