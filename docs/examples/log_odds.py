"""A metric of one's own: the log odds of the answers, against all other tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechshift_core.extending import MetricKind, TokenSet

if TYPE_CHECKING:
    from torch import Tensor


def log_odds(logits: Tensor, answers: TokenSet, foils: TokenSet) -> Tensor:
    """log(p / (1 - p)) of the probability p of all answers together, [n], of logits [n, vocabulary]."""
    others = logits.masked_fill(answers.mask(logits.shape[1]), float("-inf"))
    return answers.logsumexp(logits) - others.logsumexp(1)


KINDS = [
    MetricKind(
        name="log_odds",
        summary="the log odds of the answers against all other tokens",
        measure=log_odds,
        indifferent_at_zero=False,
    )
]
