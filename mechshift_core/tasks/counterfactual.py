"""From text to tokens: counterfactual examples that are aligned for one tokenizer, and what was dropped on the way."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks.base import CounterfactualText, Metric, is_held_out
from mechshift_core.tasks.options import encode, options_of, rest_of
from mechshift_core.tasks.roles import MASK, token_roles

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from mechshift_core.tasks.base import Task

DRAWS_PER_EXAMPLE = 200


@dataclass(frozen=True, slots=True)
class Example:
    """One aligned counterfactual pair.

    Attributes:
        clean_ids: Tokens of the clean prompt up to the token to predict; `corrupt_ids` has as many.
        answer_ids: Tokens that count as the answer; `foil_ids` those they are held against.
        masks: Tokens of the completion that are not revealed yet, which masked diffusion models see as masks: the
            answer, and what follows it.
        revealed: Tokens at the end of both prompts that are of the completion already.
        clean_rest_ids: The tokens of the clean completion after the answer, `masks - 1` of them, and `corrupt_rest_ids`
            those of the corrupted one after the foil; empty where they are not known.
        clean: The clean prompt as text (`corrupt`, `answer` and `foil` alike), for tables and reports.
        roles: What each token of the clean prompt is, e.g. `s1`, `target`, `end`, `other` (see
            :mod:`mechshift_core.tasks.roles`); empty if the tokenizer cannot say where in the text its tokens stand.

    Raises:
        ValueError: if there are roles, but not one for each token.
    """

    template: str
    clean_ids: tuple[int, ...]
    corrupt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    foil_ids: tuple[int, ...]
    masks: int
    clean: str
    corrupt: str
    answer: str
    foil: str
    roles: tuple[str, ...] = ()
    revealed: int = 0
    clean_rest_ids: tuple[int, ...] = ()
    corrupt_rest_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.roles and len(self.roles) != len(self.clean_ids):
            raise ValueError(
                f"roles: expected one for each of {len(self.clean_ids)} tokens of the prompt, got {len(self.roles)}"
            )

    @property
    def rest_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What completes the clean and the corrupted prompt after the answer."""
        return self.clean_rest_ids, self.corrupt_rest_ids

    def position_roles(self, state: Sequence[bool]) -> tuple[str, ...]:
        """The roles of all positions of an input; empty if unknown.

        Args:
            state: Which tokens of the completion are visible, as far as it is read; the others are masks.
        """
        if not self.roles:
            return ()
        start = len(self.roles) - self.revealed
        named = (*self.roles[start:], *[MASK] * self.masks)
        return (*self.roles[:start], *(named[place] if seen else MASK for place, seen in enumerate(state)))


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of one task for one tokenizer.

    Attributes:
        asked: Examples that the spec asks for.
        dropped: Reason -> number of prompts that were drawn but can't be used.
    """

    task: str
    metric: Metric
    asked: int
    examples: tuple[Example, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def digest(self, part: slice = slice(None)) -> str:
        """SHA-256 over the tokens, and so over all that a model's run on these examples depends on (no role does)."""
        content = [
            (e.clean_ids, e.corrupt_ids, e.answer_ids, e.foil_ids, e.masks, e.revealed, *e.rest_ids)
            for e in self.examples[part]
        ]
        return hashlib.sha256(json.dumps([self.metric, content]).encode()).hexdigest()

    def role_digest(self, part: slice = slice(None)) -> str:
        """SHA-256 over the tokens and their roles, for results that depend on what a position is called."""
        content = [self.digest(part), [e.roles for e in self.examples[part]]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def to_json(self) -> str:
        """The dataset as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Dataset:
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        rows: list[dict[str, Any]] = [
            {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
            for row in content.pop("examples")
        ]
        return cls(**content, examples=tuple(Example(**row) for row in rows))


def generated_dataset(task: Task, tokenizer: PreTrainedTokenizerBase, *, examples: int, seed: int) -> Dataset:
    """Draw distinct held-out counterfactual pairs of a task until enough of them are aligned.

    Raises:
        ExecutionError: if the tokenizer leaves too few aligned prompts, with the reasons and their numbers.
    """
    return _collect(task.name, task.metric, _draws(task, seed, examples), tokenizer, examples)


def align(text: CounterfactualText, tokenizer: PreTrainedTokenizerBase) -> Example | str:
    """Tokenise one pair; a string says why it can't be used."""
    clean, corrupt = encode(tokenizer, text.clean), encode(tokenizer, text.corrupt)
    if len(clean) != len(corrupt):
        return "clean and corrupted prompt differ in their number of tokens"
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in (*clean, *corrupt):
        return "a word is not in the vocabulary"
    options = options_of(text, clean, corrupt, tokenizer)
    if isinstance(options, str):
        return options
    if set(options.answer_ids) & set(options.foil_ids):
        return "answer and foil are the same token"
    if clean == corrupt:
        return "clean and corrupted prompt are the same"
    asked = encode(tokenizer, text.clean[: text.completion_start].rstrip())
    if clean[: len(asked)] != asked:
        return "prompt and completion share a token"
    return Example(
        template=text.template,
        clean_ids=clean,
        corrupt_ids=corrupt,
        answer_ids=options.answer_ids,
        foil_ids=options.foil_ids,
        masks=options.masks,
        clean=text.clean,
        corrupt=text.corrupt,
        answer=_listed(options.answers),
        foil=_listed(options.foils),
        roles=_roles(tokenizer, text),
        revealed=len(clean) - len(asked),
        clean_rest_ids=rest_of(tokenizer, text, clean, options.masks),
        corrupt_rest_ids=rest_of(tokenizer, text, corrupt, options.masks, corrupted=True),
    )


def _draws(task: Task, seed: int, examples: int) -> Iterator[CounterfactualText]:
    """Distinct held-out pairs, a bounded number of draws."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, *task.name.encode()]))
    seen: set[str] = set()
    for _ in range(examples * DRAWS_PER_EXAMPLE + 1000):
        text = task.counterfactual(rng)
        if text is not None and is_held_out(text.key) and text.clean not in seen:
            seen.add(text.clean)
            yield text


def _collect(
    name: str, metric: Metric, texts: Iterable[CounterfactualText], tokenizer: PreTrainedTokenizerBase, examples: int
) -> Dataset:
    kept: list[Example] = []
    dropped: Counter[str] = Counter()
    for text in texts:
        aligned = align(text, tokenizer)
        if isinstance(aligned, str):
            dropped[aligned] += 1
            if dropped.total() > 20 * examples and len(kept) < dropped.total() // 100:
                break  # a tokenizer that this task does not suit
        else:
            kept.append(aligned)
        if len(kept) == examples:
            break
    if len(kept) < examples:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in dropped.most_common())
        advice = "ask for fewer examples or use another task" if kept else "this tokenizer needs another task"
        raise ExecutionError(
            f"task {name!r}: only {len(kept)} aligned prompts of {examples} asked for "
            f"({reasons or 'it has no more distinct prompts'}); {advice}"
        )
    return Dataset(name, metric, examples, tuple(kept), dict(sorted(dropped.items())))


def _roles(tokenizer: PreTrainedTokenizerBase, text: CounterfactualText) -> tuple[str, ...]:
    if not tokenizer.is_fast:
        return ()
    encoded = tokenizer(text.clean, add_special_tokens=False, return_offsets_mapping=True)
    return token_roles(text.clean, text.roles, encoded["offset_mapping"])


def _listed(options: tuple[str, ...]) -> str:
    return " ".join(options) if len(options) <= 4 else f"{options[0]} … {options[-1]}"
