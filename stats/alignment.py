"""Output alignment: how sharply components write the answer, from the logit lens and direct logit attribution.

On one prompt, component c projects to a distribution over the vocabulary of entropy H_c and adds d_c to the difference
between the logits of answer and foil. The index is the mean entropy, weighted by what each adds in favour of the
answer,

    A = sum_c w_c H_c,   w_c = max(d_c, 0) / sum_k max(d_k, 0)   (equal weights where none adds anything),

in nats: low where the components that write the answer put their output on few tokens, high where it is diffuse. The
null is the same with the weights dealt out at random among components of a kind (heads, MLPs): what A would be if which
components write the answer had nothing to do with how sharply they write. Its mean over all permutations has a closed
form, prompt by prompt: within a kind every component gets the kind's mean weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, Integers, as_floats, codes
from stats.options import Count, Seed, checked
from stats.seeding import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How sharply components write the answer.

    Attributes:
        per_prompt: A of each prompt in nats [n], and `null_per_prompt` its mean over permutations of the weights.
        value: Mean of `per_prompt`.
        null: Mean of `null_per_prompt`; `null_low` and `null_high` are the 2.5 % and 97.5 % quantiles of the mean over
            prompts where each draw permutes the components alike on all prompts.
        excess: `value` minus `null`; below zero the components that write the answer are the sharper ones.
    """

    per_prompt: Floats
    null_per_prompt: Floats
    value: float
    null: float
    null_low: float
    null_high: float
    excess: float


@checked
def output_alignment(
    entropy: ArrayLike, added: ArrayLike, kinds: ArrayLike | Sequence[str], *, draws: Count = 1000, seed: Seed = 0
) -> Alignment:
    """The weighted entropy of what components write, beside its null.

    Args:
        entropy: Entropy of the distribution that each component projects to, per prompt [n, C], in nats.
        added: What each adds to the logit of the answer minus that of the foil [n, C].
        kinds: Kind of each component [C].
        draws: Permutations for the quantiles of the null.
        seed: Seed of the analysis.

    Raises:
        ValueError: if shapes do not match or a number is not finite.
    """
    found, weights = as_floats(entropy, "entropy", dimensions=2), _weights(added)
    if found.shape != weights.shape:
        raise ValueError(f"added: expected the shape of entropy, {list(found.shape)}, got {list(weights.shape)}")
    kind, count = codes(kinds, "kinds", length=found.shape[1])
    members = [np.flatnonzero(kind == one) for one in range(count)]
    per_prompt = (weights * found).sum(axis=1)
    null = np.sum([weights[:, own].sum(axis=1) * found[:, own].mean(axis=1) for own in members], axis=0)
    low, high = np.quantile(_permuted(found, weights, members, draws, seed), [0.025, 0.975])
    return Alignment(
        per_prompt=per_prompt,
        null_per_prompt=null,
        value=float(per_prompt.mean()),
        null=float(null.mean()),
        null_low=float(low),
        null_high=float(high),
        excess=float(per_prompt.mean() - null.mean()),
    )


def _weights(added: ArrayLike) -> Floats:
    towards: Floats = np.maximum(as_floats(added, "added", dimensions=2), 0)
    total = towards.sum(axis=1, keepdims=True)
    equal = np.full_like(towards, 1 / towards.shape[1])
    return np.asarray(np.divide(towards, total, out=equal, where=total > 0))


def _permuted(entropy: Floats, weights: Floats, members: Sequence[Integers], draws: int, seed: int) -> Floats:
    """Mean over prompts under permutations of the components within their kinds [draws].

    It is sum_c M[c, p(c)] with M[c, k] the mean over prompts of H_c w_k: no draw touches the prompts again.
    """
    products = entropy.T @ weights / len(entropy)
    rng = generator(seed, "permuted weights")
    found = np.zeros(draws)
    for own in members:
        order = rng.permuted(np.tile(own, (draws, 1)), axis=1)
        found += products[own, order].sum(axis=1)
    return found
