"""Models whose heads are known by construction: one that does all the work, or two that stand in for each other.

Task: is the token at position 1 one of the first eight (YES) or of the last eight (NO)? The other tokens say nothing,
and the corrupted prompt has a token of the other kind there. A planted head looks at position 1 and writes the kind as
a sign. In the specialised model it writes it to the logits; in the redundant one two heads (or three) write it to an
MLP that saturates, so that one of them is as good as all.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from mechshift_core import CounterfactualBatch
from mechshift_core.zoo.planted import (
    BEGIN,
    LENGTH,
    NO,
    POSITION,
    PREDICTED,
    SIGN,
    TOKEN,
    VOCABULARY,
    YES,
    PlantedHead,
    _codes,
    _Neuron,
    build,
    scaled,
)

SPECIALISED, REDUNDANT, SATURATING = "a1.h2", ("a0.h1", "a1.h3"), "m2"
THIRD = "a1.h0"
TOKENS = LENGTH - 1
FIRST = 4
"""The first token that is not one of those with a meaning of their own."""
KINDS = torch.tensor([*[0.0] * FIRST, *[1.0] * 8, *[-1.0] * 8])
"""The sign of every token's kind."""


def write_specialised(folder: Path, *, noise: float = 0.05) -> Path:
    """A model in which one head does everything."""
    head = _looking(1, 2)
    head.output[0, PREDICTED] = (_codes(VOCABULARY)[YES] - _codes(VOCABULARY)[NO]) / 2
    build([head], [], bidirectional=False, noise=noise, seed=0).save_pretrained(folder)
    return folder


def write_redundant(folder: Path, *, noise: float = 0.05, third: bool = False) -> Path:
    """A model in which either of two heads is enough; with a third, any of three."""
    heads = [_looking(0, 1), _looking(1, 3), *([_looking(1, 0)] if third else [])]
    for head in heads:
        head.output[0, SIGN] = torch.tensor([0.5, -0.5])
    neurons = []
    for token, sign in ((YES, 1.0), (NO, -1.0)):
        # GELU(8 u) - GELU(8 u - 4): 0 at u = 0, and 4 from u = 1 on. The bias comes from the code of the last position.
        for offset, weight in ((0.0, 1 / 4), (-4.0, -1 / 4)):
            neuron = _Neuron(layer=2)
            neuron.read[SIGN] = torch.tensor([8.0, -8.0]) * sign
            neuron.read[POSITION.start + TOKENS - 1] = offset / (1 - 1 / LENGTH)
            neuron.write[PREDICTED] = _codes(VOCABULARY)[token] * weight
            neurons.append(neuron)
    build(heads, neurons, bidirectional=False, noise=noise, seed=0).save_pretrained(folder)
    return folder


def prompts(examples: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Clean and corrupted prompts, [examples, TOKENS]; both kinds are as frequent."""
    draw = torch.Generator().manual_seed(seed)
    clean = torch.randint(FIRST, VOCABULARY, (examples, TOKENS), generator=draw)
    clean[:, 0] = BEGIN
    place = torch.randint(8, (2, examples), generator=draw)
    clean[:, 1] = FIRST + place[0] + 8 * (torch.arange(examples) % 2)
    corrupt = clean.clone()
    corrupt[:, 1] = FIRST + place[1] + 8 * ((torch.arange(examples) + 1) % 2)
    return clean, corrupt


def batch(examples: int, *, seed: int = 0) -> CounterfactualBatch:
    """Prompts with their answers."""
    clean, corrupt = prompts(examples, seed=seed)
    answers, foils = (torch.where(KINDS[ids[:, 1]] > 0, YES, NO) for ids in (clean, corrupt))
    return CounterfactualBatch(clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers, foil_ids=foils)


def write_prompts(path: Path, examples: int) -> None:
    """The same as a data set, in which the token that matters has the role `kind`."""
    made = batch(examples)
    roles = ["begin", "kind", *["other"] * (TOKENS - 3), "end"]
    rows = [
        {"clean_ids": clean, "corrupt_ids": corrupt, "answer_ids": answer, "foil_ids": foil, "roles": roles}
        for clean, corrupt, answer, foil in zip(
            *(getattr(made, name).tolist() for name in ("clean_ids", "corrupt_ids", "answer_ids", "foil_ids")),
            strict=True,
        )
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def _looking(layer: int, number: int) -> PlantedHead:
    """A head that looks at position 1 and reads the kind of the token there."""
    head = PlantedHead(layer=layer, number=number)
    head.query_bias[0] = scaled(torch.tensor(1.0))
    head.key[POSITION.start + 1, 0] = 1.0
    head.value[TOKEN, 0] = KINDS
    return head
