"""What a look at a study before it is run has shown; made by :mod:`.trying`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A prompt as a model sees it, and what it answers.

    Attributes:
        text: The input, masks included; token ids where there is no tokenizer.
        tokens: Number of its tokens.
        answers: What counts as the answer, and `foils` what it is held against.
        likely: The most likely tokens with their probabilities, the first before all.
    """

    text: str
    tokens: int
    answers: tuple[str, ...]
    foils: tuple[str, ...]
    likely: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How a model does a task.

    Attributes:
        looked_at: Prompts that it was run on.
        correct: Those answered correctly by the rule in use, `judged_by`.
        metric_above: Those with a metric above 0; None of a metric whose 0 says nothing.
        argmax: Those whose most likely token is an answer.
        mean_metric: Mean of the metric.
        flat: Those on which the metric does not move with the logits, so that there is nothing to attribute.
        unmoved: Those with the same metric on the corrupted prompt, so that the difference has nothing to attribute.
        forward: Seconds of a forward pass of one prompt.
        seen: The first prompt.
    """

    model: str
    task: str
    looked_at: int
    correct: int
    judged_by: str
    metric_above: int | None
    argmax: int
    mean_metric: float
    flat: int
    unmoved: int
    forward: float
    seen: Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How many prompts a pair keeps on a task.

    Attributes:
        selected: Of `looked_at` prompts, those that the selection rule keeps.
        expected: So many of the run's `read` prompts, if they are like these.
        dropped: Why the others are not, with their number.
    """

    pair: str
    task: str
    looked_at: int
    selected: int
    read: int
    expected: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """What a model takes: seconds to load it, and of a forward pass with its backward pass of one prompt."""

    model: str
    loading: float
    forward: float
    both: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a look at a study has shown.

    Attributes:
        seconds: What all cells of the run will take in one process, and loading its models, by these passes; `forward`,
            `backward` and `patched` are the passes that were counted.
        warnings: What would make the study fail, a sentence each.
    """

    answered: tuple[Answered, ...]
    kept: tuple[Kept, ...]
    passes: tuple[Passes, ...]
    seconds: float
    forward: int
    backward: int
    patched: int
    device: str
    warnings: tuple[str, ...] = ()
