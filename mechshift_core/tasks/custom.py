"""Custom tasks: counterfactual pairs from JSON Lines, as text or as token ids, or from CSV (:mod:`.csv_rows`).

A line holds `clean`, `corrupt`, `answer` and `foil` (text; answers and foils may be lists), or `clean_ids`,
`corrupt_ids`, `answer_ids` and `foil_ids`; `template` is optional, and so are `roles`: a list of `[role, start, stop]`,
characters of `clean`, or one role for each token of `clean_ids`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from mechshift_core.errors import ExecutionError
from mechshift_core.files import read_regular
from mechshift_core.metrics import LOGIT_DIFFERENCE
from mechshift_core.tasks.account import LISTED
from mechshift_core.tasks.base import CounterfactualText, Judgement
from mechshift_core.tasks.counterfactual import Dataset, Example, align
from mechshift_core.tasks.csv_rows import MixedLine, aligned_with_tokens, distinct, rows_of
from mechshift_core.tasks.distinct import DistinctPrompts
from mechshift_core.tasks.draw import draw_examples
from mechshift_core.tasks.encoding import MASK_IN_PROMPT, UNKNOWN_WORD, Encoder, outside
from mechshift_core.tasks.roles import OTHER, RoleSpan, unclaimed_end
from mechshift_core.tasks.unknown import LISTED as WORDS
from mechshift_core.tasks.unknown import asked_for, unknown_words
from mechshift_core.wording import describe, line_fault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_BYTES = 256 * 2**20
"""Largest data set that is read."""
Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Token = Annotated[int, Field(ge=0)]
Role = Annotated[str, Field(min_length=1, max_length=100)]
Span = Annotated[tuple[Role, int, int], Field(strict=False)]  # JSON has lists only


class TextLine(BaseModel):
    """A pair as text."""

    model_config = ConfigDict(extra="forbid", strict=True)
    clean: Text
    corrupt: Text
    answer: Text | Annotated[list[Text], Field(min_length=1)]
    foil: Text | Annotated[list[Text], Field(min_length=1)]
    template: str = "custom"
    roles: list[Span] = Field(default_factory=list)

    @field_validator("roles")
    @classmethod
    def _within_clean(cls, roles: list[Span], info: ValidationInfo) -> list[Span]:
        length = len(info.data.get("clean", ""))
        for role, start, stop in roles:
            if length and not 0 <= start < stop <= length:
                raise PydanticCustomError(
                    "span",
                    "expected the span of {role} within the {length} characters of clean, got {start} to {stop}",
                    {"role": repr(role), "length": length, "start": start, "stop": stop},
                )
        return roles


class TokenLine(BaseModel):
    """A pair as token ids."""

    model_config = ConfigDict(extra="forbid", strict=True)
    clean_ids: Annotated[list[Token], Field(min_length=1)]
    corrupt_ids: Annotated[list[Token], Field(min_length=1)]
    answer_ids: Token | Annotated[list[Token], Field(min_length=1)]
    foil_ids: Token | Annotated[list[Token], Field(min_length=1)]
    template: str = "custom"
    roles: list[Role] | None = None

    @field_validator("roles")
    @classmethod
    def _one_per_token(cls, roles: list[Role] | None, info: ValidationInfo) -> list[Role] | None:
        tokens = len(info.data.get("clean_ids", []))
        if roles is not None and tokens and len(roles) != tokens:
            raise PydanticCustomError(
                "roles",
                "expected one role for each of the {tokens} tokens of clean_ids, got {given}",
                {"tokens": tokens, "given": len(roles)},
            )
        return roles


Line = TextLine | TokenLine | MixedLine
KEYS = ("clean", "corrupt", "answer", "foil")
"""What holds text in a line."""


def read_lines(path: Path) -> list[Line]:
    """The lines of a dataset; raises as :func:`numbered_lines` does."""
    return [line for _, line in numbered_lines(path)]


def numbered_lines(path: Path) -> list[tuple[int, Line]]:
    """Parse a dataset: every line that is not empty, or every row of a `.csv`, with its number in the file.

    Raises:
        ExecutionError: naming every malformed line by its number (at most ten of them).
    """
    try:
        text = read_regular(path, MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ExecutionError(f"dataset {path} cannot be read: {error}") from error
    of_csv = path.suffix.lower() == ".csv"
    rows = rows_of(path, text) if of_csv else _json_rows(text)
    parsed: list[tuple[int, Line]] = []
    problems: list[str] = []
    for number, row in rows:
        if isinstance(row, str):
            problems.append(f"{path}:{number}: {row}")
            continue
        kind = TokenLine if "clean_ids" in row else MixedLine if of_csv and "answer_ids" in row else TextLine
        try:
            parsed.append((number, kind.model_validate(row)))
        except ValidationError as error:
            problems.append(f"{path}:{number}: {line_fault(error.errors(), list(kind.model_fields))}")
    if problems:
        more = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise ExecutionError("\n".join(problems[:10]) + more)
    return parsed


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Every line that is not empty as an object, or what is wrong with it."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):  # JSON text may hold other line separators as they are
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line, object_pairs_hook=_each_once)
            if not isinstance(row, dict):
                raise ValueError(f"expected an object, got {describe(row)}")
        except (ValueError, RecursionError) as error:
            yield number, f"not a JSON object: {error}"
        else:
            yield number, row


def _each_once(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    """The entries of a JSON object; of a key that is there twice it would not be known which one counts."""
    found = dict(entries)
    twice = [key for key, count in Counter(key for key, _ in entries).items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} is there twice")
    return found


class NothingAlignedError(ExecutionError):
    """No pair of a data set can be used; `dataset` holds the account of why."""

    def __init__(self, message: str, dataset: Dataset) -> None:
        super().__init__(message)
        self.dataset = dataset


def custom_dataset(
    name: str,
    path: Path,
    tokenizer: PreTrainedTokenizerBase | Encoder | None,
    *,
    vocabulary: int,
    examples: int | None = None,
    seed: int = 0,
    delimiter: str = " ",
    holes: frozenset[int] = frozenset(),
) -> Dataset:
    """The aligned pairs of a dataset, each clean prompt once, in the order of the file.

    Args:
        tokenizer: Needed for lines of text.
        vocabulary: Size of the models' vocabulary; pairs with token ids beyond it are dropped and counted.
        examples: How many are wanted; of more aligned ones so many are drawn (see :mod:`.draw`). None reads all.
        seed: Seed of the draw.
        delimiter: What stands between prompt and answer where neither brings a space.
        holes: Mask tokens of the models; pairs that hold one are dropped and counted.

    Raises:
        ExecutionError: for malformed lines; a :class:`NothingAlignedError` if no pair is aligned.
    """
    lines = numbered_lines(path)
    encoder = None if tokenizer is None else replace(Encoder.of(tokenizer), vocabulary=vocabulary, holes=holes)
    if encoder is None and not all(isinstance(line, TokenLine) for _, line in lines):
        raise ExecutionError(f"dataset {path} holds text, but the model has no tokenizer; give token ids instead")
    numbered, dropped = aligned_lines(lines, encoder, vocabulary=vocabulary, delimiter=delimiter, holes=holes)
    kept = [example for _, example in numbered]
    asked = len(lines) if examples is None else examples
    drawn = draw_examples(kept, asked, seed=seed, task=name)
    dataset = Dataset(
        name,
        LOGIT_DIFFERENCE.name,
        asked,
        tuple(kept[place] for place in drawn),
        {reason: len(numbers) for reason, numbers in dropped.items()},
        judged_by=_judged_by(kept),
        lines=len(lines),
        left_out=len(kept) - len(drawn),
        dropped_lines={reason: tuple(numbers[:LISTED]) for reason, numbers in dropped.items()},
        unknown=unknown_in(lines, dropped, encoder),
    )
    if not kept:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in dataset.dropped.items()) or "the file is empty"
        words = asked_for(dataset.unknown)
        raise NothingAlignedError(f"task {name!r}: no pair of {path} is aligned ({reasons}){words}", dataset)
    return dataset


def aligned_lines(
    lines: Iterable[tuple[int, Line]],
    encoder: Encoder | None,
    *,
    vocabulary: int,
    delimiter: str = " ",
    holes: frozenset[int] = frozenset(),
) -> tuple[list[tuple[int, Example]], dict[str, list[int]]]:
    """The lines that can be used, aligned, each clean prompt once; and why the others can't be.

    Args:
        lines: Lines with their numbers.
        encoder: How text becomes tokens, with `vocabulary` and `holes`; None where all lines are token ids.
        vocabulary: Size of the models' vocabulary.
        delimiter: What stands between prompt and answer where neither brings a space.
        holes: Mask tokens of the models.

    Returns:
        (number, example) of every line that is kept, in order; and reason -> numbers of the lines dropped for it.
    """
    kept: list[tuple[int, Example]] = []
    dropped: dict[str, list[int]] = {}
    seen = DistinctPrompts(either_way=True)
    for number, line in lines:
        if isinstance(line, TokenLine):
            aligned: Example | str = _from_tokens(line, vocabulary, holes)
        else:
            assert encoder is not None
            if isinstance(line, MixedLine):
                aligned = aligned_with_tokens(line, encoder)
            else:
                aligned = align(_as_pair(line, delimiter), encoder)
        reason = aligned if isinstance(aligned, str) else seen.why_not(aligned)
        if reason is not None:
            dropped.setdefault(reason, []).append(number)
        elif isinstance(aligned, Example):
            kept.append((number, aligned))
    return kept, dropped


def unknown_in(
    lines: Iterable[tuple[int, Line]], dropped: Mapping[str, Sequence[int]], encoder: Encoder | None
) -> dict[str, str]:
    """The words for which lines were dropped, see :func:`.unknown_words`; none where all lines are token ids."""
    numbers = {*dropped.get(UNKNOWN_WORD, ())[: WORDS + 1]}
    if encoder is None or not numbers:
        return {}
    values = (getattr(line, key, "") for number, line in lines if number in numbers for key in KEYS)
    return unknown_words(encoder, (text for one in values for text in ([one] if isinstance(one, str) else one)))


def _judged_by(examples: Sequence[Example]) -> Judgement:
    """By the metric where the answer of a line is a set of tokens, over which a model spreads its mass."""
    return "metric" if any(len(set(example.answer_ids)) > 1 for example in examples) else "argmax"


def _as_pair(line: TextLine, delimiter: str) -> CounterfactualText:
    """A line as generated tasks have it: one space in all between prompt and answer, on whichever side it is written.

    As in lm-evaluation-harness, a space at the end of a prompt goes over to the answer. Other white space, a line break
    say, stays, and nothing more stands between. What a delimiter has before its spaces ends the prompt: it is read
    before the answer is, and is no part of it.
    """
    clean, corrupt = line.clean.rstrip(" "), line.corrupt.rstrip(" ")
    answers, foils = _listed(line.answer), _listed(line.foil)
    spans = ((role, start, min(stop, len(clean))) for role, start, stop in line.roles)
    roles = tuple(RoleSpan(*span) for span in spans if span[1] < span[2])
    joiner = " " if clean != line.clean else "" if clean[-1:].isspace() else delimiter
    begun = delimiter.rstrip(" ")
    spaced = joiner != delimiter or any(word[:1].isspace() for word in (*answers, *foils))
    if begun and not (begun.isspace() and spaced):
        clean, corrupt, joiner = f"{clean}{begun}", f"{corrupt}{begun}", delimiter[len(begun) :]
    return CounterfactualText(line.template, clean, corrupt, answers, foils, key=line.clean, joiner=joiner, roles=roles)


def _listed(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _from_tokens(line: TokenLine, vocabulary: int, holes: frozenset[int]) -> Example | str:
    answers, foils = distinct(line.answer_ids), distinct(line.foil_ids)
    every = (*line.clean_ids, *line.corrupt_ids, *answers, *foils)
    if max(every) >= vocabulary:
        return outside(vocabulary)
    if not holes.isdisjoint(every):
        return MASK_IN_PROMPT
    if len(line.clean_ids) != len(line.corrupt_ids):
        return "clean and corrupted prompt differ in their number of tokens"
    if line.clean_ids == line.corrupt_ids:
        return "clean and corrupted prompt are the same"
    if set(answers) & set(foils):
        return "answer and foil are the same token"

    def shown(ids: tuple[int, ...] | list[int]) -> str:
        return " ".join(map(str, ids))

    return Example(
        line.template, tuple(line.clean_ids), tuple(line.corrupt_ids), answers, foils, 1,
        shown(line.clean_ids), shown(line.corrupt_ids), shown(answers), shown(foils),
        tuple(line.roles) if line.roles is not None else unclaimed_end([OTHER] * len(line.clean_ids)),
    )  # fmt: skip
