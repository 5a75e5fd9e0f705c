"""Counterfactual pairs from CSV, as EAP-IG, MIB and CircuitKIT have them.

One row a pair, one column each for the clean prompt, the corrupted one, the answer and the foil; other columns are left
aside (the unnamed one that pandas writes, `corrupted_hard`). `correct_idx` and `incorrect_idx` are token ids beside
prompts that are text; `incorrect_idx` may be a list of ids. `answer` and `foil` are text.

Source: `ioi_llama.csv` and `ioi.ipynb` of hannamw/EAP-IG; `EAPDataset` of hannamw/MIB-circuit-track;
`EAPDiscoveryDataset` (src/circuitkit/data/eap_dataset.py), docs/user-guide/custom-data.md and examples/ of
Lexsi-Labs/CircuitKIT.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks.base import CounterfactualText
from mechshift_core.tasks.counterfactual import Example, both_prompts, roles_of
from mechshift_core.tasks.encoding import Encoder, UnreadableTextError
from mechshift_core.wording import clip, describe

MOST_CHARACTERS = 100_000
"""Of one field."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "clean": ("clean", "prompt", "question"),
    "corrupt": ("corrupted", "corrupt", "corrupted_prompt"),
    "answer": ("answer", "correct_idx"),
    "foil": ("foil", "incorrect_idx", "corrupted_answer", "corrupt_answer"),
}
"""What a row holds -> the names that its column may have."""
TOKENS = ("correct_idx", "incorrect_idx")


class MixedLine(BaseModel):
    """A pair as text whose answer and foil are token ids."""

    model_config = ConfigDict(extra="forbid", strict=True)
    clean: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]
    corrupt: Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]
    answer_ids: Annotated[int, Field(ge=0)] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    foil_ids: Annotated[int, Field(ge=0)] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    template: str = "custom"


def rows_of(path: Path, text: str) -> Iterator[tuple[int, dict[str, object] | str]]:
    """Every row with the number of the line on which it ends, as the keys of a JSON line, or what is wrong with it.

    Raises:
        ExecutionError: if the columns are not those of pairs.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise ExecutionError(f"{path}:{reader.line_num or 1}: not CSV: {error}") from error
    if header is None:
        return
    places = _columns(path, [name.strip() for name in header])
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, f"not CSV: {error}; the rows behind it were not read"
            return
        if row is None:
            return
        if not any(field.strip() for field in row):
            continue
        yield reader.line_num, _entry(row, len(header), places)


def _columns(path: Path, header: list[str]) -> dict[str, tuple[str, int]]:
    """What a row holds -> the name and place of its column."""
    found: dict[str, tuple[str, int]] = {}
    for key, names in {**COLUMNS, "template": ("template",)}.items():
        there = [name for name in names if name in header]
        if len(there) > 1 or any(header.count(name) > 1 for name in there):
            raise ExecutionError(
                f"{path}:1: the {key} stands in several columns ({', '.join(n for n in header if n in there)}); which "
                "one counts can't be told: remove the others"
            )
        if there:
            found[key] = there[0], header.index(there[0])
    missing = [key for key in COLUMNS if key not in found]
    if missing:
        advice = ""
        if "label" in header:
            advice = (
                "; `label` is a year, as EAP-IG's greater-than has it, whose metric sums over all years: use the task "
                "greater_than, or write `answer` and `foil`"
            )
        raise ExecutionError(
            f"{path}:1: expected a column {' or '.join(COLUMNS[missing[0]])}, got "
            f"{clip(', '.join(header), 200)}{advice}"
        )
    if (found["answer"][0] in TOKENS) != (found["foil"][0] in TOKENS):
        raise ExecutionError(
            f"{path}:1: {found['answer'][0]} and {found['foil'][0]}: expected token ids in both columns, or text in "
            "both"
        )
    return found


def _entry(row: list[str], width: int, places: dict[str, tuple[str, int]]) -> dict[str, object] | str:
    if len(row) != width:
        return f"expected {width} fields as in the first line, got {len(row)}"
    entry: dict[str, object] = {}
    for key, (name, place) in places.items():
        if name not in TOKENS:
            entry[key] = row[place]
            continue
        ids = _ids(row[place])
        if ids is None:
            return f"{name}: expected a token id, or a list of them, got {describe(row[place])}"
        entry[f"{key}_ids"] = ids
    return entry


def _ids(text: str) -> int | list[int] | None:
    """A token id, also as pandas writes one where others are missing (`5.0`), or a list of them."""
    stripped = text.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.0)?", stripped):
        return int(stripped.partition(".")[0])
    if not re.fullmatch(r"\[[0-9, ]{1,1000}\]", stripped):
        return None
    try:
        found: list[int] = json.loads(stripped)
    except ValueError:
        return None
    return found or None


def aligned_with_tokens(line: MixedLine, encoder: Encoder) -> Example | str:
    """Prompts as text with the very tokens that answer them; a string says why a pair can't be used.

    A space at the end of a prompt stays in it: which token follows is given.
    """
    answers, foils = distinct(line.answer_ids), distinct(line.foil_ids)
    try:
        prompts = both_prompts(line.clean, line.corrupt, encoder)
    except UnreadableTextError as error:
        return str(error)
    if isinstance(prompts, str):
        return prompts
    clean, corrupt, added = prompts
    if set(answers) & set(foils):
        return "answer and foil are the same token"
    if clean == corrupt:
        return "clean and corrupted prompt are the same"
    refusal = encoder.refusal(clean, corrupt, answers, foils)
    if refusal is not None:
        return refusal
    text = CounterfactualText(line.template, line.clean, line.corrupt, (), (), key=line.clean)
    return Example(
        template=line.template,
        clean_ids=clean,
        corrupt_ids=corrupt,
        answer_ids=answers,
        foil_ids=foils,
        masks=1,
        clean=line.clean,
        corrupt=line.corrupt,
        answer=_shown(encoder, answers),
        foil=_shown(encoder, foils),
        roles=roles_of(encoder, text, clean),
        added=clean[:added],
    )


def distinct(ids: int | list[int]) -> tuple[int, ...]:
    """A set of tokens, each once."""
    return (ids,) if isinstance(ids, int) else tuple(dict.fromkeys(ids))


def _shown(encoder: Encoder, ids: tuple[int, ...]) -> str:
    return " ".join(str(encoder.tokenizer.decode([one])).strip() for one in ids)
