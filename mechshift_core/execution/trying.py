"""A look at a study before hours of it: each model on a few prompts of each task, without a run directory.

Accuracy, selection, and what a pass takes; and from these what would make the study fail. The prompts are spread evenly
over those of the run and are read as the first inference budget reads them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import Rows, batch_rows, row_groups, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.cost import Cost, cost
from mechshift_core.execution.hands import load_planned
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.prompts import cautions
from mechshift_core.execution.reading import completed
from mechshift_core.execution.scores import Answers, judgement, selected_examples
from mechshift_core.execution.tried import Answered, Kept, Passes, Seen, Tried
from mechshift_core.metrics import TokenSet, flat_rows, metric_named, stands_still
from mechshift_core.tasks.counterfactual import Dataset, Example
from stats.minimums import MINIMUM_CLUSTERS, MINIMUM_PROMPTS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.models import Model
    from mechshift_core.progress import Progress
    from mechshift_core.spec.pairs import PairSpec

LOOKED_AT = 20
"""Prompts of each task, unless another number is asked for."""
AT_ONCE = 16
"""Inputs in a pass, at most."""
TOP = 5
"""Most likely tokens that are shown."""
SAME = 0.01
"""Share of the larger of two metrics, up to which they are taken to be the same."""
PATCHED = 2
"""Plain forward passes that a patched one counts as: it replaces values on its way."""


def look(
    plan: Plan,
    *,
    limit: int = LOOKED_AT,
    cells: Iterable[tuple[Plan, Cell]] | None = None,
    progress: Progress | None = None,
) -> Tried:
    """Run every model of a plan on a few prompts of every task.

    Args:
        plan: The plan; nothing of it is written.
        limit: Prompts of each task, at least 1.
        cells: Those whose time is estimated, each with its plan; all of them unless given.
        progress: Called with (what is being done, steps done, steps in all).

    Raises:
        ExecutionError: if a model can't be loaded, or what is read does not fit into memory.
    """
    chosen = {task.name: _spread(len(plan.datasets[task.name].examples), limit) for task in plan.spec.tasks}
    answers: dict[tuple[str, str], Answers] = {}
    answered: list[Answered] = []
    passes: list[Passes] = []
    device = ""
    for number, name in enumerate(plan.models):
        if progress is not None:
            progress(f"{name} on a few prompts", number, len(plan.models))
        try:
            began = time.perf_counter()
            model = load_planned(plan, name)
            loading, device = time.perf_counter() - began, str(model.device.type)
            for task, numbers in chosen.items():
                dataset = plan.dataset(name, task)
                answers[name, task], one = _answer(plan, model, name, dataset, [dataset.examples[n] for n in numbers])
                answered.append(one)
            passes.append(_passes(plan, model, name, plan.dataset(name, next(iter(chosen))), loading))
        except (RuntimeError, ValueError, MemoryError) as error:
            raise ExecutionError(f"model {name!r}: {str(error) or type(error).__name__}") from error
        del model
    kept = tuple(_kept(plan, pair, task.name, answers) for pair in plan.spec.every_pair for task in plan.spec.tasks)
    seconds, work = _whole(plan.every_cell if cells is None else cells, answered, passes)
    return Tried(
        answered=tuple(answered),
        kept=kept,
        passes=tuple(passes),
        seconds=seconds,
        forward=work.forward,
        backward=work.backward,
        patched=work.patched,
        device=device,
        warnings=(*_warnings(plan, answered, kept), *cautions(plan)),
    )


def _spread(count: int, limit: int) -> list[int]:
    """At most so many numbers below `count`, evenly spread."""
    taken = min(count, limit)
    return [number * count // taken for number in range(taken)]


def _answer(
    plan: Plan, model: Model, name: str, dataset: Dataset, examples: Sequence[Example]
) -> tuple[Answers, Answered]:
    reading = plan.reading(plan.budgets[0])
    metric, states = np.zeros(len(examples), np.float32), np.zeros(len(examples), np.int64)
    predicted = np.zeros(len(examples), np.int64)
    corrupted = np.zeros(len(examples), np.float32)
    moves = np.zeros(len(examples), dtype=bool)
    seen, passed, spent = None, 0, 0.0
    for group in row_groups(model, examples, reading):
        for rows in _parts(group, min(AT_ONCE, batch_rows(plan.spec) or AT_ONCE)):
            read = [examples[number] for number in rows.numbers]
            batch = to_batch(model, dataset, read, rows.states).to(model.device)
            if not passed:
                _read(model, batch, batch.clean_ids)  # the first pass of all takes longer
            began = time.perf_counter()
            logits, values = _read(model, batch, batch.clean_ids)
            spent, passed = spent + time.perf_counter() - began, passed + len(rows.numbers)
            _, otherwise = _read(model, batch, batch.corrupt_ids)
            flat = _flat(dataset, read, logits)
            for place, number in enumerate(rows.numbers):
                moves[number] |= not flat[place]
                metric[number] += rows.weights[place] * float(values[place])
                corrupted[number] += rows.weights[place] * float(otherwise[place])
                states[number] += reading.holds(rows.states[place], examples[number])
                if rows.last[place]:
                    predicted[number] = int(logits[place].argmax())
                    if number == 0:
                        seen = _seen(model, examples[0], rows.states[place], logits[place])
    by = judgement(plan.spec, dataset)
    right = [int(token) in one.answer_ids for token, one in zip(predicted, examples, strict=True)]
    argmax = np.array(right, dtype=bool)
    correct = metric > 0 if by == "metric" else argmax
    prefers = metric_named(dataset.metric).indifferent_at_zero
    found = Answers(metric, np.full(len(examples), np.nan, np.float32), correct, argmax, states, states, prefers)
    assert seen is not None
    return found, Answered(
        model=name,
        task=dataset.task,
        looked_at=len(examples),
        correct=int(correct.sum()),
        judged_by=by,
        metric_above=int((metric > 0).sum()) if prefers else None,
        argmax=int(argmax.sum()),
        mean_metric=float(metric.mean()),
        flat=int(((states > 0) & ~moves).sum()),
        unmoved=int(((states > 0) & _same(metric, corrupted)).sum()),
        forward=spent / passed,
        seen=seen,
    )


def _parts(group: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(group.numbers), size):
        yield group.part(slice(start, start + size))


def _same(clean: NDArray[np.float32], corrupted: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Of each prompt, whether its metric is the same on the corrupted prompt."""
    found: NDArray[np.bool_] = np.abs(clean - corrupted) <= SAME * np.maximum(np.abs(clean), np.abs(corrupted))
    return found


def _read(model: Model, batch: CounterfactualBatch, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Logits where answers are read, [rows, vocabulary], and the metric, [rows], for one side's ids of a batch."""
    logits = batch.rows_read(model.logits(ids, batch.attention_mask))[:, 0]
    return logits.float().cpu(), batch.measure(logits).cpu()


def _flat(dataset: Dataset, examples: Sequence[Example], logits: Tensor) -> list[bool]:
    """Of each row, whether its metric does not move with its logits."""
    answers, foils = (TokenSet.of([getattr(one, name) for one in examples]) for name in ("answer_ids", "foil_ids"))
    return [bool(one) for one in flat_rows(metric_named(dataset.metric), logits, answers, foils)]


def _seen(model: Model, example: Example, state: Sequence[bool], logits: Tensor) -> Seen:
    ids = completed(example, tuple(state), model.mask_token_id)
    top = logits.softmax(-1).topk(min(TOP, len(logits)))

    def text(tokens: Sequence[int]) -> str:
        return " ".join(map(str, tokens)) if model.tokenizer is None else str(model.tokenizer.decode(list(tokens)))

    return Seen(
        text=text(ids),
        tokens=len(ids),
        answers=tuple(text([token]) for token in example.answer_ids),
        foils=tuple(text([token]) for token in example.foil_ids),
        likely=tuple(
            (text([token]), float(share))
            for token, share in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ),
    )


def _passes(plan: Plan, model: Model, name: str, dataset: Dataset, loading: float) -> Passes:
    """What gradients take beside a forward pass: attribution with one gradient is three forward passes and it.

    A backward pass is taken to last as long as a forward one at least, whatever so short a measurement says.
    """
    from mechshift_core.attribution import attribute_edges

    examples = dataset.examples[:AT_ONCE]
    group = row_groups(model, examples, plan.reading(plan.budgets[0]))[0]
    rows = group.part(slice(min(len(group.numbers), batch_rows(plan.spec) or AT_ONCE)))
    batch = to_batch(model, dataset, [examples[number] for number in rows.numbers], rows.states).to(model.device)
    forward = _fastest(lambda: _read(model, batch, batch.clean_ids)) / len(rows.numbers)
    whole = _fastest(lambda: attribute_edges(model, batch, method="eap")) / len(rows.numbers)
    return Passes(model=name, loading=loading, forward=forward, both=max(whole - 2 * forward, 2 * forward))


def _fastest(do: Callable[[], object]) -> float:
    """Seconds of something, the least of a few: others on the machine make it longer only."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        do()
        found.append(time.perf_counter() - began)
    return min(found)


def _kept(plan: Plan, pair: PairSpec, task: str, answers: Mapping[tuple[str, str], Answers]) -> Kept:
    rule, judged = plan.spec.select.correct, [answers[name, task] for name in pair.judged]
    count, read = len(judged[0].correct), len(plan.datasets[task].examples)
    selected = len(selected_examples(judged, rule))
    expected = round(selected / count * read) // (2 if pair.prompts == "halves" else 1)
    return Kept(
        pair=pair.name,
        task=task,
        looked_at=count,
        selected=selected,
        read=read,
        expected=expected,
        dropped=_dropped(pair, judged, set(selected_examples(judged, rule).tolist())),
    )


def _dropped(pair: PairSpec, judged: Sequence[Answers], kept: set[int]) -> dict[str, int]:
    """Why prompts are not selected: which models are wrong on them."""
    found: dict[str, int] = {}
    for number in range(len(judged[0].correct)):
        if number in kept:
            continue
        wrong = [name for name, one in zip(pair.judged, judged, strict=True) if not one.correct[number]]
        unread = any(one.states[number] == 0 for one in judged)
        why = "no state at this inference budget" if unread else _wrong(wrong, len(judged))
        found[why] = found.get(why, 0) + 1
    return found


def _wrong(names: Sequence[str], of: int) -> str:
    if len(names) == of:
        return "no model is right"
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} wrong"


def _whole(
    cells: Iterable[tuple[Plan, Cell]], answered: Sequence[Answered], passes: Sequence[Passes]
) -> tuple[float, Cost]:
    """Seconds of some cells and of loading their models, and their passes, each by its model and task."""
    forward = {(one.model, one.task): one.forward for one in answered}
    backward = {one.model: (one.both - one.forward) / one.forward for one in passes}
    each = {cell.key: (own, cell) for own, cell in cells}
    used = {cell.model for _, cell in each.values()}
    total = sum(one.loading for one in passes if one.model in used)
    for own, cell in each.values():
        work, once = cost([(own, cell)]), forward.get((cell.model, cell.task))
        if once is not None:  # what reads no prompts takes no passes
            total += once * (work.forward + PATCHED * work.patched + backward[cell.model] * work.backward)
    return total, cost(each.values())


def _warnings(plan: Plan, answered: Sequence[Answered], kept: Sequence[Kept]) -> Iterator[str]:
    """What would make the study fail, as far as so few prompts tell."""
    for one in answered:
        if one.metric_above is not None and one.metric_above < math.ceil(one.looked_at / 2):
            how = f"the metric of {one.model!r} on {one.task!r} is above 0 on {one.metric_above} of {one.looked_at}"
            yield f"{how} prompts: it prefers the foils; are answers and foils exchanged, or can't it do the task?"
        if one.flat >= math.ceil(one.looked_at / 2):
            still = stands_still(plan.datasets[one.task].metric, one.mean_metric, one.mean_metric)
            yield f"{one.model!r} on {one.task!r}, {one.flat} of {one.looked_at} prompts: {still}"
        elif one.unmoved >= math.ceil(one.looked_at / 2):
            same = (
                f"is the same on the corrupted prompt (within {SAME:.0%}) on {one.unmoved} of {one.looked_at} prompts"
            )
            yield (
                f"the metric of {one.model!r} on {one.task!r} {same}, so that there is next to nothing to attribute: "
                "does the corruption change what the answer depends on?"
            )
    few: dict[tuple[str, str], str] = {}
    for pair in kept:
        where = f"pair {pair.pair!r} on {pair.task!r}"
        rate = f"{pair.selected} of {pair.looked_at} prompts are selected, about {pair.expected} in the run"
        if pair.expected < MINIMUM_CLUSTERS:
            few[pair.pair, pair.task] = where
            yield f"{where}: {rate}; below {MINIMUM_CLUSTERS} there is no interval and no test"
        elif pair.expected < MINIMUM_PROMPTS:
            yield f"{where}: {rate}; below {MINIMUM_PROMPTS} measures on halves of the prompts have no interval"
    for hypothesis in plan.spec.hypotheses:
        names: dict[str, None] = {}
        for _, group in hypothesis.groups():
            for member, task in plan.spec.members(hypothesis, group):
                steps = [member.name] if hypothesis.along is None else [one.name for one in member.pairs()]  # type: ignore[union-attr]
                names |= dict.fromkeys(few[step, task.name] for step in steps if (step, task.name) in few)
        if names:
            yield f"hypothesis {hypothesis.id!r} can't be tested: too few prompts of {', '.join(names)}"
