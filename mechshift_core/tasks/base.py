"""What a task is: exercises to train and evaluate on, and counterfactual pairs to attribute with.

Everything here is text; tokens enter in :mod:`mechshift_core.tasks.counterfactual`. Every draw comes from the generator
that is handed in, so a task is a pure function of its seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from mechshift_core.tasks.roles import RoleSpan

Regime = Literal["local", "global"]
Metric: TypeAlias = str
"""Name of a registered metric, see :mod:`mechshift_core.metrics`."""
Judgement = Literal["metric", "argmax"]
"""What makes an answer correct: a metric above 0 on the clean prompt, or a most likely token that is an answer."""


@dataclass(frozen=True, slots=True)
class Exercise:
    """A prompt and one correct completion, as they stand in a training corpus.

    `key` names the combination that decides between training and held-out data (see :func:`is_held_out`).
    """

    template: str
    prompt: str
    completion: str
    key: str


@dataclass(frozen=True, slots=True)
class TwoDigits:
    """What an answer of two digits is compared with where a tokenizer takes it apart.

    Args:
        place: The two digits in `clean` that the answer is held against; in `corrupt` they stand at the same place.
        greater: Tens digits of which every number is greater than those two digits.
        smaller: Tens digits of which every number is smaller; the tens digit that they share is neither.
    """

    place: RoleSpan
    greater: tuple[str, ...]
    smaller: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CounterfactualText:
    """A clean prompt, its minimally different corruption, and what tells their answers apart.

    Args:
        template: The name of the sentence frame; templates are a random factor in the statistics.
        clean: The prompt, with the part of the answer that is already revealed, up to the token to predict.
        corrupt: The corrupted prompt; it must have the same number of tokens.
        answers: Tokens that are right after `clean` (one, or a set for aggregated metrics).
        foils: Tokens that are right after `corrupt`, or wrong after `clean`.
        key: The clean prompt's combination, as in :class:`Exercise`.
        remainder: The rest of the clean completion after the answer token; a masked diffusion model sees it masked.
        corrupt_remainder: The rest of the corrupted prompt's completion, after the foil.
        completion_start: Where in `clean` the completion begins, in characters; None where none of it is revealed.
        joiner: What stands between prompt and answer; empty where the answer goes on a number or a word.
        roles: What parts of `clean` are (see :mod:`mechshift_core.tasks.roles`); earlier spans go before later ones.
        number: Given where the answers are numbers of two digits: tokenizers to which every digit is a token are asked
            for the tens digit (see :mod:`mechshift_core.tasks.options`).
        forms: Whether the answer and the foil of the same place are forms of one word; those of which the tokenizer
            does not have both as one token are left out.
        right: Every word by which `clean` may rightly go on, and `right_for_corrupt` those of `corrupt`, where there
            may be several: a tokenizer that takes words apart must not have the foil begin as one of them does.
        behind: What stands behind the completion, and `corrupt_behind` the same of the corrupted prompt: only a model
            that reads in both directions sees it. Its roles go on counting from the end of `clean`.
    """

    template: str
    clean: str
    corrupt: str
    answers: tuple[str, ...]
    foils: tuple[str, ...]
    key: str
    remainder: str = ""
    corrupt_remainder: str = ""
    completion_start: int | None = None
    joiner: str = " "
    roles: tuple[RoleSpan, ...] = ()
    number: TwoDigits | None = None
    forms: bool = False
    right: tuple[str, ...] = ()
    right_for_corrupt: tuple[str, ...] = ()
    behind: str = ""
    corrupt_behind: str = ""


class Task(Protocol):
    """A generated task. Instances are stateless; `name` is what a spec says.

    `roles` are those that its prompts mark; besides them tokens are `end` or `other`. `judged_by` is what makes an
    answer correct unless the spec says otherwise: the metric where an answer is a set of tokens or part of a number,
    whose mass is spread or which the tokenizer may split; the most likely token where it is one word.
    """

    name: str
    regime: Regime
    metric: Metric
    judged_by: Judgement
    summary: str
    roles: tuple[str, ...]

    def exercise(self, rng: np.random.Generator) -> Exercise:
        """Draw one exercise, from training and held-out combinations alike."""
        ...

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        """Draw one counterfactual pair; None where the draw admits none (the caller draws again)."""
        ...

    def is_correct(self, prompt: str, completion: str) -> bool:
        """Whether a generated completion (tokens joined by spaces) solves the prompt."""
        ...


def is_held_out(key: str, *, fraction: float = 0.1) -> bool:
    """Whether a combination is kept out of the bundled models' training data.

    A stable hash of the key decides, so that training, evaluation and attribution agree without a stored list.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < fraction


def choose(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """One option, uniformly."""
    return options[int(rng.integers(len(options)))]
