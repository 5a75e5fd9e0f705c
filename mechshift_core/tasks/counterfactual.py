"""From text to tokens: counterfactual examples that are aligned for one tokenizer, and what was dropped on the way."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.metrics import METRICS
from mechshift_core.tasks.account import PromptAccount
from mechshift_core.tasks.banks import bank_of
from mechshift_core.tasks.base import CounterfactualText, Judgement, Metric, is_held_out
from mechshift_core.tasks.behind import behind_of
from mechshift_core.tasks.distinct import DistinctPrompts
from mechshift_core.tasks.encoding import UNKNOWN_WORD, Encoder, Ids, UnreadableTextError, begins_with
from mechshift_core.tasks.options import SAME_BEGINNING, UNEQUAL, options_of, rest_of, space_first
from mechshift_core.tasks.roles import BOS, MASK, token_roles
from mechshift_core.tasks.unknown import LISTED, asked_for, unknown_words

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
        added: Tokens at the beginning of both prompts that do not stand in their text: the tokenizer's
            beginning-of-sequence token, where it has one. None where tokens were given instead of text.
        clean_behind_ids: Tokens that stand behind the completion, which only a model that reads in both directions
            sees; `corrupt_behind_ids` has as many. `behind_roles` says what they are, where `roles` are known.

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
    added: tuple[int, ...] | None = None
    clean_behind_ids: tuple[int, ...] = ()
    corrupt_behind_ids: tuple[int, ...] = ()
    behind_roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.roles and len(self.roles) != len(self.clean_ids):
            raise ValueError(
                f"roles: expected one for each of {len(self.clean_ids)} tokens of the prompt, got {len(self.roles)}"
            )

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """All tokens of the clean prompt, those behind the completion included."""
        return (*self.clean_ids, *self.clean_behind_ids)

    @property
    def prompt_roles(self) -> tuple[str, ...]:
        """The role of each of them; empty if unknown."""
        return (*self.roles, *self.behind_roles)

    @property
    def rest_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What completes the clean and the corrupted prompt after the answer."""
        return self.clean_rest_ids, self.corrupt_rest_ids

    @property
    def behind_ids(self) -> tuple[tuple[int, ...], ...]:
        """What stands behind the completion of the clean and the corrupted prompt; empty where nothing does."""
        return (self.clean_behind_ids, self.corrupt_behind_ids) if self.clean_behind_ids else ()

    def begun(self, begin: tuple[int, ...]) -> Example:
        """The example as a model reads it that begins every text with other tokens; given tokens stay as they are."""
        if self.added is None or self.added == begin:
            return self
        cut = len(self.added)
        clean, corrupt = self.clean_ids[cut:], self.corrupt_ids[cut:]
        if begins_with(clean, begin):  # written out in the text
            begin = ()
        if begin == self.added:
            return self
        return replace(
            self,
            clean_ids=(*begin, *clean),
            corrupt_ids=(*begin, *corrupt),
            roles=(*[BOS] * len(begin), *self.roles[cut:]) if self.roles else (),
            added=begin,
        )

    def position_roles(self, state: Sequence[bool]) -> tuple[str, ...]:
        """The roles of all positions of an input; empty if unknown.

        Args:
            state: Which tokens of the completion are visible, as far as it is read; the others are masks.
        """
        if not self.roles:
            return ()
        start = len(self.roles) - self.revealed
        named = (*self.roles[start:], *[MASK] * self.masks)
        behind = self.behind_roles if len(state) == len(named) else ()
        return (*self.roles[:start], *(named[place] if seen else MASK for place, seen in enumerate(state)), *behind)


@dataclass(frozen=True, slots=True)
class DataFile:
    """The file of a data set.

    Attributes:
        source: What the spec calls it.
        file_sha256: Of its content.
        revision: Commit of a file of the Hub; None of any other.
    """

    source: str
    file_sha256: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """The examples of one task for one tokenizer.

    Attributes:
        asked: Examples that the spec asks for: a number, or every line of a data set.
        dropped: Reason -> number of pairs that were looked at but can't be used.
        judged_by: What makes an answer correct, unless the spec says otherwise.
        lines: Pairs that the data set holds; None for a generated task.
        left_out: Aligned pairs of a data set that were not drawn, since fewer are asked for.
        dropped_lines: Reason -> numbers of the first such lines of a data set.
        unknown: Words of dropped pairs that are not in the vocabulary, each with the known one that comes closest.
        words: The bank that a generated task drew from; None where it has a single one.
        file: The file that a data set was read from.
    """

    task: str
    metric: Metric
    asked: int
    examples: tuple[Example, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    judged_by: Judgement = "argmax"
    lines: int | None = None
    left_out: int = 0
    dropped_lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    words: str | None = None
    file: DataFile | None = None

    @property
    def account(self) -> PromptAccount:
        """How many prompts were asked for, looked at, aligned and read."""
        aligned = len(self.examples) + self.left_out
        return PromptAccount(
            task=self.task,
            asked=self.asked,
            found=aligned + sum(self.dropped.values()) if self.lines is None else self.lines,
            aligned=aligned,
            read=len(self.examples),
            dropped=self.dropped,
            lines=self.dropped_lines,
            unknown=self.unknown,
            generated=self.lines is None,
            words=self.words,
            templates=len({example.template for example in self.examples}),
        )

    def begun(self, begin: tuple[int, ...]) -> Dataset:
        """The data set as a model reads it that begins every text with these tokens."""
        examples = tuple(example.begun(begin) for example in self.examples)
        same = all(new is old for new, old in zip(examples, self.examples, strict=True))
        return self if same else replace(self, examples=examples)

    def digest(self, part: slice = slice(None)) -> str:
        """SHA-256 over tokens and metric: all that a model's run on these examples depends on (no role does)."""
        content = [
            (e.clean_ids, e.corrupt_ids, e.answer_ids, e.foil_ids, e.masks, e.revealed, *e.rest_ids, *e.behind_ids)
            for e in self.examples[part]
        ]
        return hashlib.sha256(json.dumps([self.metric, content, *METRICS.marks(self.metric)]).encode()).hexdigest()

    def role_digest(self, part: slice = slice(None)) -> str:
        """SHA-256 over the tokens and their roles, for results that depend on what a position is called."""
        content = [self.digest(part), [e.prompt_roles for e in self.examples[part]]]
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
        lines = {reason: tuple(numbers) for reason, numbers in content.pop("dropped_lines", {}).items()}
        file = content.pop("file", None)
        return cls(
            **content,
            examples=tuple(Example(**row) for row in rows),
            dropped_lines=lines,
            file=None if file is None else DataFile(**file),
        )


def generated_dataset(task: Task, tokenizer: PreTrainedTokenizerBase | Encoder, *, examples: int, seed: int) -> Dataset:
    """Draw distinct held-out counterfactual pairs of a task until enough of them are aligned.

    Raises:
        ExecutionError: if the tokenizer leaves too few aligned prompts, with the reasons and their numbers.
    """
    dataset = _collect(task.name, task.metric, _draws(task, seed, examples), Encoder.of(tokenizer), examples)
    bank = bank_of(task)
    judged_by: Judgement = getattr(task, "judged_by", "argmax")  # a task may be older than the rule
    return replace(dataset, judged_by=judged_by, words=None if bank is None else bank.name)


def align(text: CounterfactualText, tokenizer: PreTrainedTokenizerBase | Encoder) -> Example | str:
    """Tokenise one pair; a string says why it can't be used."""
    try:
        return _align(text, Encoder.of(tokenizer))
    except UnreadableTextError as error:
        return str(error)


def both_prompts(clean: str, corrupt: str, encoder: Encoder) -> tuple[Ids, Ids, int] | str:
    """Clean and corrupted prompt as token ids, and how many the clean one has before its text; or why not.

    Raises:
        UnreadableTextError: if the tokenizer can't read one of them.
    """
    written, of_corrupt = encoder.plain(clean), encoder.plain(corrupt)
    if not written:
        return "the tokenizer makes nothing of the prompt"
    if begins_with(written, encoder.begin) != begins_with(of_corrupt, encoder.begin):
        return "only one of the prompts begins with the beginning-of-sequence token"
    ids, of_other = encoder.begun(written), encoder.begun(of_corrupt)
    return (ids, of_other, len(ids) - len(written)) if len(ids) == len(of_other) else UNEQUAL


def _align(text: CounterfactualText, encoder: Encoder) -> Example | str:
    prompts = both_prompts(text.clean, text.corrupt, encoder)
    if isinstance(prompts, str):
        return prompts
    clean, corrupt, added = prompts
    options = options_of(text, clean, corrupt, encoder)
    if options == SAME_BEGINNING:
        spaced = space_first(text, clean, encoder)
        return SAME_BEGINNING if spaced is None else _align(spaced, encoder)
    if isinstance(options, str):
        return options
    if set(options.answer_ids) & set(options.foil_ids):
        return "answer and foil are the same token"
    behind = behind_of(encoder, text)
    if isinstance(behind, str):
        return behind
    if (clean, behind.clean) == (corrupt, behind.corrupt):
        return "clean and corrupted prompt are the same"
    asked = encoder.text(text.clean if text.completion_start is None else text.clean[: text.completion_start].rstrip())
    if not begins_with(clean, asked):
        return "prompt and completion share a token"
    rest = rest_of(encoder, text, clean, options.masks)
    corrupt_rest = rest_of(encoder, text, corrupt, options.masks, corrupted=True)
    refusal = encoder.refusal(
        clean, corrupt, options.answer_ids, options.foil_ids, rest, corrupt_rest, behind.clean, behind.corrupt
    )
    if refusal is not None:
        return refusal
    return Example(
        template=text.template,
        clean_ids=clean,
        corrupt_ids=corrupt,
        answer_ids=options.answer_ids,
        foil_ids=options.foil_ids,
        masks=options.masks,
        clean=_shown(text.clean, text.behind),
        corrupt=_shown(text.corrupt, text.corrupt_behind),
        answer=_listed(options.answers),
        foil=_listed(options.foils),
        roles=roles_of(encoder, text, clean),
        revealed=len(clean) - len(asked),
        clean_rest_ids=rest,
        corrupt_rest_ids=corrupt_rest,
        added=clean[:added],
        clean_behind_ids=behind.clean,
        corrupt_behind_ids=behind.corrupt,
        behind_roles=behind.roles,
    )


def _draws(task: Task, seed: int, examples: int) -> Iterator[CounterfactualText]:
    """Distinct held-out pairs, a bounded number of draws."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, *task.name.encode()]))
    seen: set[str] = set()
    for _ in range(examples * DRAWS_PER_EXAMPLE + 1000):
        text = task.counterfactual(rng)
        if text is not None and is_held_out(text.key) and text.clean + text.behind not in seen:
            seen.add(text.clean + text.behind)
            yield text


def _collect(
    name: str, metric: Metric, texts: Iterable[CounterfactualText], encoder: Encoder, examples: int
) -> Dataset:
    kept: list[Example] = []
    dropped: Counter[str] = Counter()
    unread: list[CounterfactualText] = []
    distinct = DistinctPrompts(either_way=False)
    for text in texts:
        aligned = align(text, encoder)
        reason = aligned if isinstance(aligned, str) else distinct.why_not(aligned)
        if reason is not None:
            dropped[reason] += 1
            if reason == UNKNOWN_WORD and len(unread) <= LISTED:
                unread.append(text)
            if dropped.total() > 20 * examples and len(kept) < dropped.total() // 100:
                break  # a tokenizer that this task does not suit
        elif isinstance(aligned, Example):
            kept.append(aligned)
        if len(kept) == examples:
            break
    unknown = unknown_words(encoder, (one for text in unread for one in texts_of(text)))
    if len(kept) < examples:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in dropped.most_common())
        advice = "ask for fewer examples or use another task" if kept else "this tokenizer needs another task"
        raise ExecutionError(
            f"task {name!r}: only {len(kept)} aligned prompts of {examples} asked for "
            f"({reasons or 'it has no more distinct prompts'}); {advice}{asked_for(unknown)}"
        )
    return Dataset(name, metric, examples, tuple(kept), dict(sorted(dropped.items())), unknown=unknown)


def texts_of(text: CounterfactualText) -> Iterator[str]:
    """All that a pair says: prompts, answers, foils and what stands behind the completions."""
    yield from (text.clean, text.corrupt, *text.answers, *text.foils, text.behind, text.corrupt_behind)


def roles_of(encoder: Encoder, text: CounterfactualText, ids: tuple[int, ...]) -> tuple[str, ...]:
    """The role of each token of a clean prompt; empty if the tokenizer does not say where its tokens stand."""
    offsets = encoder.offsets(text.clean)
    if offsets is None:
        return ()
    begin = encoder.beginning(ids)
    return (*[BOS] * begin, *token_roles(text.clean, text.roles, offsets[begin:]))


def _shown(prompt: str, behind: str) -> str:
    return f"{prompt} ___{behind}" if behind else prompt


def _listed(options: tuple[str, ...]) -> str:
    words = [option.strip() or option for option in options]
    return " ".join(words) if len(words) <= 4 else f"{words[0]} … {words[-1]}"
