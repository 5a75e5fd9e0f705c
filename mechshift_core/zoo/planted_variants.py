"""Planted circuits that are harder to find: with two heads for one job, or one that works against the others.

Each is the induction task of :mod:`mechshift_core.zoo.planted`, causal or bidirectional, with two distractors beside
the random heads: heads that write as much as planted ones, other things on clean and on corrupted prompts, into parts
of the residual stream that nothing planted reads. `a0.h3` copies the token of its own position, and `a2.h0` writes the
preceding token once more, when the induction heads have read.

- `redundant`: two induction heads, `a1.h2` and `a1.h3`, each of which writes half of the prediction;
- `opposed`: the induction head `a1.h2` writes 1.4 times the prediction, and `a1.h3`, a negative head of the kind that
  McDougall et al. (2023, arXiv 2310.04625) describe, takes .4 away. Its edges belong to the circuit, with negative
  scores.
"""

from __future__ import annotations

import torch

from mechshift_core.zoo.planted import (
    HEADS,
    LAYERS,
    LENGTH,
    NOISE,
    POSITION,
    SIGN,
    TOKEN,
    VOCABULARY,
    PlantedCircuit,
    PlantedHead,
    build,
    draw_pairs,
    induction_head,
    induction_prompt,
    named,
    previous_token_head,
    scaled,
)

UNREAD = slice(SIGN.stop + 2, SIGN.stop + 2 + VOCABULARY)
"""Part of the residual stream, behind the ballast, that nothing planted reads."""
DISTRACTORS = ("a0.h3", "a2.h0")
SECOND = 3
"""The second induction head of layer 1."""


def planted_redundant(*, bidirectional: bool = False, noise: float = NOISE, seed: int = 0) -> PlantedCircuit:
    """Previous-token head -> two induction heads, each half of the effect -> logits; see the module.

    Args:
        bidirectional: Whether positions see what stands to their right.
        noise: Size of what everything off the circuit writes, but the distractors; 0 leaves the planted weights alone.
        seed: Of the random weights.

    Raises:
        ValueError: if the noise is negative.
    """
    return _planted("redundant", (0.5, 0.5), bidirectional=bidirectional, noise=noise, seed=seed)


def planted_opposed(*, bidirectional: bool = False, noise: float = NOISE, seed: int = 0) -> PlantedCircuit:
    """Previous-token head -> an induction head and one that takes part of its effect away -> logits; see the module.

    Args:
        bidirectional: Whether positions see what stands to their right.
        noise: Size of what everything off the circuit writes, but the distractors; 0 leaves the planted weights alone.
        seed: Of the random weights.

    Raises:
        ValueError: if the noise is negative.
    """
    return _planted("opposed", (1.4, -0.4), bidirectional=bidirectional, noise=noise, seed=seed)


def planted_variants(*, noise: float = NOISE, seed: int = 0) -> tuple[PlantedCircuit, ...]:
    """Both, causal and bidirectional."""
    return tuple(
        plant(bidirectional=bidirectional, noise=noise, seed=seed)
        for plant in (planted_redundant, planted_opposed)
        for bidirectional in (False, True)
    )


def _planted(task: str, gains: tuple[float, float], *, bidirectional: bool, noise: float, seed: int) -> PlantedCircuit:
    heads = [previous_token_head(0, 1), *_distractors()]
    edges = ["input->a0.h1<v>"]
    for number, gain in zip((2, SECOND), gains, strict=True):
        heads.append(induction_head(1, number, gain=gain))
        own = f"a1.h{number}"
        edges += [f"a0.h1->{own}<k>", f"input->{own}<q>", f"input->{own}<v>", f"{own}->logits"]
    module = build(heads, [], bidirectional=bidirectional, noise=noise, seed=seed)
    return PlantedCircuit(
        name=named(task, bidirectional), bidirectional=bidirectional, module=module, edges=tuple(edges),
        draw=lambda examples, seed: draw_pairs(examples, seed, induction_prompt, bidirectional),
    )  # fmt: skip


def _distractors() -> list[PlantedHead]:
    assert HEADS > SECOND and LAYERS > 2
    own = PlantedHead(layer=0, number=3)
    own.query[POSITION, :LENGTH] = scaled(torch.eye(LENGTH))
    own.key[POSITION, :LENGTH] = torch.eye(LENGTH)
    own.value[TOKEN, :VOCABULARY] = torch.eye(VOCABULARY)
    own.output[:VOCABULARY, UNREAD] = torch.eye(VOCABULARY)
    return [own, previous_token_head(2, 0)]
