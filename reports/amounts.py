"""On how much a finding rests: prompts, wordings, tasks, pairs and training seeds, of each claim its own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from reports import formats
from reports.data import ReportData
from stats.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What one finding is decided on.

    Attributes:
        prompts: Selected prompts of each pair and task, and `wordings` the templates that these are in, as far as they
            are known.
        pairs: Pairs whose values are added and subtracted; `against`, those that each value is compared with.
        seeds: Training seeds of the pairs, of unrelated ones none.
    """

    prompts: tuple[int, ...]
    wordings: tuple[int, ...]
    tasks: int
    pairs: int
    against: int
    seeds: int


def amounts_of(data: ReportData, finding: Finding) -> Amounts:
    """On how much a finding rests."""
    members = {(term.pair, term.task) for term in finding.terms}
    words = data.words.get(finding.measure)
    role = "" if words is None else words.counted_from
    return Amounts(
        prompts=tuple(sorted({term.n for term in finding.terms if term.n})),
        wordings=tuple(
            sorted({one.templates for one in data.task_counts if one.templates and (one.pair, one.task) in members})
        ),
        tasks=len({task for _, task in members}),
        pairs=len({pair for pair, _ in members}),
        against=sum(pair.role == role for pair in data.methods.pairs) if role else 0,
        seeds=len(seeds_of(finding)),
    )


def seeds_of(finding: Finding) -> set[Hashable]:
    """The training seeds that a finding is about; those of unrelated pairs only give a level."""
    return {term.seed for term in finding.terms if term.role != "unrelated"}


def said(found: Sequence[Amounts]) -> str:
    """How much one finding rests on, or from how much to how much several do; empty where there is none."""
    if not found:
        return ""
    parts = []
    prompts = [amount for one in found for amount in one.prompts]
    wordings = [amount for one in found for amount in one.wordings]
    if prompts:
        parts.append(f"{_from_to(prompts)} {_noun(prompts, 'prompt')} a task and pair")
    if wordings and max(wordings) > 1:
        parts.append(f"in {_from_to(wordings)} wordings")
    pairs = _amount(found, lambda one: one.pairs, "pair")
    against = [one.against for one in found if one.against]
    if against:
        some = "" if len(against) == len(found) else "some "
        pairs += f" ({some}compared with {_from_to(against)} unrelated {_noun(against, 'one')})"
    amounts = [_amount(found, lambda one: one.tasks, "task"), pairs]
    amounts.append(_amount(found, lambda one: one.seeds, "training seed"))
    return formats.sentence(" ".join([*parts, ("on " if parts else "") + formats.listed(amounts)]))


def _amount(found: Sequence[Amounts], of: Callable[[Amounts], int], noun: str) -> str:
    amounts = [of(one) for one in found]
    return f"{_from_to(amounts)} {_noun(amounts, noun)}"


def _noun(amounts: Sequence[int], noun: str) -> str:
    return noun if max(amounts) == 1 else f"{noun}s"


def _from_to(amounts: Sequence[int]) -> str:
    low, high = min(amounts), max(amounts)
    return formats.count(low) if low == high else f"{formats.count(low)} to {formats.count(high)}"
