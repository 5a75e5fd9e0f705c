"""Metrics: the number of each prompt that is read from its logits, and that attributions explain.

A metric is a kind like others: registered under its name, from this package, from another one or from a file of a
spec. Only where numbers are computed is PyTorch imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import ExecutionError
from mechshift_core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

NO_TOKEN = -1
"""What pads sets of tokens."""
SPREAD = 3.0
"""Standard deviation of the random logits on which a metric is tried."""


@dataclass(frozen=True, eq=False, slots=True)
class TokenSet:
    """A set of tokens for each row: the answers, or the foils. Results are float32, of float64 values float64.

    Args:
        ids: Token ids, [n, set], padded with -1; none is there twice in a row.
    """

    ids: Tensor

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> TokenSet:
        """Sets of any sizes."""
        import torch

        widest = max(map(len, rows))
        return cls(torch.tensor([[*row, *[NO_TOKEN] * (widest - len(row))] for row in rows]))

    @property
    def present(self) -> Tensor:
        """Whether a place holds a token and no padding, bool, [n, set]."""
        return self.ids != NO_TOKEN

    def sum(self, values: Tensor) -> Tensor:
        """Sum of each row's values over its tokens, [n], of values [n, vocabulary]."""
        return self._taken(values, 0.0).sum(1)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of each row's values over its tokens, [n], of values [n, vocabulary]."""
        return self.sum(values) / self.present.sum(1)

    def logsumexp(self, values: Tensor) -> Tensor:
        """Logarithm of the sum of the exponentials over each row's tokens, [n], of values [n, vocabulary]."""
        return self._taken(values, float("-inf")).logsumexp(1)

    def mask(self, vocabulary: int) -> Tensor:
        """Whether a token is in the set of a row, bool, [n, vocabulary]."""
        beyond = self.ids.masked_fill(~self.present, vocabulary)
        found = beyond.new_zeros(len(beyond), vocabulary + 1).scatter(1, beyond, 1)
        return found[:, :vocabulary] != 0

    def repeated(self, copies: int) -> TokenSet:
        """The sets of so many copies of the rows, one after the other."""
        return TokenSet(self.ids.repeat(copies, 1))

    def _taken(self, values: Tensor, padding: float) -> Tensor:
        from mechshift_core.models.precision import widened

        return widened(values.gather(1, self.ids.clamp(min=0))).masked_fill(~self.present, padding)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricKind:
    """A metric.

    Attributes:
        name: What a spec calls it.
        summary: What it is, in a clause that begins with an article: the report says `the metric is ...`.
        measure: Of logits [n, vocabulary], the answers and the foils of each row: its value, [n]. The logits are
            float32 or float64. A row's value depends on the logits of that row alone, and PyTorch differentiates it.
        indifferent_at_zero: Whether a model that prefers neither answers nor foils has the value 0, and one that
            prefers the answers a larger one. Only then can answers be judged by it (`select: {by: metric}`).
    """

    name: str
    summary: str
    measure: Callable[[Tensor, TokenSet, TokenSet], Tensor]
    indifferent_at_zero: bool

    def values(self, logits: Tensor, answers: TokenSet, foils: TokenSet) -> Tensor:
        """The value of each row, [n]; arguments as those of `measure`, in any number format.

        Raises:
            ExecutionError: if it is not one number for each row, not finite although the logits are, or has no
                gradient although the logits do.
        """
        from mechshift_core.models.precision import widened

        found = self.measure(widened(logits), answers, foils)
        reason = _fault(found, logits)
        if reason:
            raise ExecutionError(f"the metric {self.name!r} {reason}")
        return found


def _fault(found: object, logits: Tensor) -> str:
    """What is wrong with the values of a metric; empty where nothing is."""
    import torch

    expected = f"is to give {len(logits)} numbers, one for each row of the logits"
    if not isinstance(found, torch.Tensor):
        return f"{expected}; it gave a {type(found).__name__}"
    if found.shape != (len(logits),):
        return f"{expected}; it gave a tensor of shape {list(found.shape)}"
    if not found.is_floating_point():
        return f"{expected}; it gave {str(found.dtype).removeprefix('torch.')} numbers"
    if logits.requires_grad and torch.is_grad_enabled() and not found.requires_grad:
        return "does not depend on the logits in a way that can be differentiated, so that nothing can be attributed"
    if not bool(found.isfinite().all()) and bool(logits.isfinite().all()):
        rows = (~found.isfinite()).nonzero()[:, 0].tolist()
        return f"is {float(found.detach()[rows[0]])} where all logits are finite (row {rows[0]})"
    return ""


def try_metric(kind: MetricKind, answers: TokenSet, foils: TokenSet, *, vocabulary: int) -> None:
    """Hold a metric to what it is to be, on random logits of these answers and foils.

    Raises:
        ExecutionError: if it fails, what it gives is not what it is to give, does not depend on the logits, or a row's
            value depends on the logits of another row.
    """
    import torch

    if len(answers.ids) < 2:
        answers, foils = answers.repeated(2), foils.repeated(2)
    count, generator = len(answers.ids), torch.Generator().manual_seed(0)
    logits = SPREAD * torch.randn(count, vocabulary, generator=generator, dtype=torch.float64)
    logits.requires_grad_(True)
    try:
        with torch.enable_grad():
            values = kind.values(logits, answers, foils)
            slopes = torch.stack([torch.autograd.grad(one, logits, retain_graph=True)[0] for one in values])
    except ExecutionError:
        raise
    except Exception as error:  # of whoever wrote it
        raise ExecutionError(f"the metric {kind.name!r} fails: {type(error).__name__}: {error}") from error
    own = torch.eye(count, dtype=torch.bool)
    if not bool(slopes.isfinite().all()):
        raise ExecutionError(f"the metric {kind.name!r} has a gradient that is not finite where all logits are")
    if not bool(slopes[own].any()):
        raise ExecutionError(f"the metric {kind.name!r} does not depend on the logits: all its derivatives are 0")
    if bool(slopes[~own].any()):
        raise ExecutionError(
            f"the metric {kind.name!r} mixes prompts: the value of a row is to depend on the logits of that row alone"
        )


def _logit_difference(logits: Tensor, answers: TokenSet, foils: TokenSet) -> Tensor:
    return answers.mean(logits) - foils.mean(logits)


def _probability_difference(logits: Tensor, answers: TokenSet, foils: TokenSet) -> Tensor:
    probabilities = logits.softmax(-1)
    return answers.sum(probabilities) - foils.sum(probabilities)


def _log_probability(logits: Tensor, answers: TokenSet, foils: TokenSet) -> Tensor:
    return answers.logsumexp(logits.log_softmax(-1))


LOGIT_DIFFERENCE = MetricKind(
    name="logit_difference",
    summary="the mean logit of the answers minus that of the foils",
    measure=_logit_difference,
    indifferent_at_zero=True,
)
PROBABILITY_DIFFERENCE = MetricKind(
    name="probability_difference",
    summary="the probability of all answers minus that of all foils",
    measure=_probability_difference,
    indifferent_at_zero=True,
)
LOG_PROBABILITY = MetricKind(
    name="log_probability",
    summary="the natural logarithm of the probability of all answers together",
    measure=_log_probability,
    indifferent_at_zero=False,
)


def _faults(kind: Any) -> Iterator[str]:  # of whoever wrote it
    if not (isinstance(kind.summary, str) and kind.summary):
        yield "it has no `summary`: what it is, in a clause"
    measure: object = kind.measure
    if not callable(measure):
        yield f"its `measure` is to be a function of logits, answers and foils, got {measure!r}"
    indifferent: object = kind.indifferent_at_zero
    if not isinstance(indifferent, bool):
        yield f"its `indifferent_at_zero` is to be True or False, got {indifferent!r}"


METRICS: Registry[MetricKind] = Registry(
    "metric",
    lambda: (LOGIT_DIFFERENCE, PROBABILITY_DIFFERENCE, LOG_PROBABILITY),
    lambda kind: kind.name,
    lambda kind: isinstance(kind, MetricKind),
    _faults,
)
"""Every metric by its name."""


def metric_named(name: str) -> MetricKind:
    """A metric.

    Raises:
        ExecutionError: if none of that name is registered now.
    """
    if name not in METRICS:
        raise ExecutionError(f"there is no metric {name!r} (known: {', '.join(METRICS)})")
    return METRICS[name]


FLAT = 1e-4
"""A metric stands still where its slope is less than this share of that at even odds."""


def flat_rows(kind: MetricKind, logits: Tensor, answers: TokenSet, foils: TokenSet) -> Tensor:
    """Whether a row's metric hardly depends on its logits, so that there is next to nothing to attribute, bool, [n].

    Its largest derivative is held against the one where the answers have logits that give them half of all probability:
    so it is of a logarithm of a probability, or a probability, that is as good as 1.
    """
    import math

    import torch

    def steepest(values: Tensor) -> Tensor:
        at = values.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            (slopes,) = torch.autograd.grad(kind.values(at, answers, foils).sum(), at)
        return slopes.abs().amax(1)

    wide = logits.double()
    even = torch.zeros_like(wide).masked_fill(answers.mask(wide.shape[1]), math.log(wide.shape[1]))
    return steepest(wide) < FLAT * steepest(even)


def stands_still(metric: str, low: float, high: float) -> str:
    """What is said where a metric does not move, given its values there."""
    values = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    said = f"the metric {metric!r} does not move there (its value is {values}), so that there is nothing to attribute"
    if metric == LOGIT_DIFFERENCE.name:
        return said
    return f"{said}; where an answer is certain, its probability can't rise: use `metric: {LOGIT_DIFFERENCE.name}`"


def judges_nothing(task: str, metric: str) -> str:
    """What is said where answers are to be judged by a metric that can't."""
    return (
        f"the answers of {task!r} are to be judged by the metric, but 0 of {metric!r} does not mean that neither "
        "answers nor foils are preferred, so that it does not tell right from wrong; say `select: {by: argmax}`, or "
        "use another metric"
    )
