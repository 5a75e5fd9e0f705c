"""Planted circuits: small GPT-2 models whose weights are set by hand, so that their circuit is known by construction.

Two tasks, each with causal and with bidirectional attention:

- induction: `... A B ... A` -> B. A previous-token head (`a0.h1`) writes each position's preceding token into a
  subspace of its own; an induction head (`a1.h2`) looks for the position whose preceding token is the current one and
  copies the token that stands there to the logits (Olsson et al. 2022, arXiv 2209.11895).
- duplicate: does the current token stand anywhere else? A duplicate-token head (`a1.h0`) attends to another position
  with the same token or else to position 0, and writes which of the two as a sign; an MLP (`m2`) turns the sign into
  the logits of YES and NO.

Bidirectional prompts are read anywhere, and their evidence lies on either side. The position after the one read holds
the mask there, as in a shifted masked diffusion model; the induction head's keys shun it, for it follows A too.

The residual stream. Tokens, preceding tokens, predictions and positions have a subspace each. A token, or a position,
is a one-hot code minus its mean, so that the stream has mean 0. LayerNorm would still divide by a standard deviation
that depends on what was written; a ballast of constant, much larger size (two coordinates of the position embedding,
of opposite sign) keeps that within a few percent, and the norms' weights undo it and hide the ballast.

What makes discovery a task. The planted weights are few. All other heads and MLPs, and the remaining neurons of a
planted MLP, read at random from everything and write at random to everything, the predictions among it; the planted
heads and the unembedding have random parts too. So almost no edge carries nothing: what is off the circuit is small,
but not absent.

The position embedding is not a node of the graph. Where a head finds its position by it alone (queries and keys of the
previous-token head, the duplicate-token head's values), no edge is part of the circuit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

BEGIN, MASK, YES, NO = range(4)
VOCABULARY, LENGTH = 20, 8
LAYERS, HEADS, HEAD_SIZE, NEURONS = 3, 4, 32, 32
HIDDEN = HEADS * HEAD_SIZE
TOKEN, PREVIOUS, PREDICTED = (slice(start, start + VOCABULARY) for start in range(0, 3 * VOCABULARY, VOCABULARY))
POSITION = slice(3 * VOCABULARY, 3 * VOCABULARY + LENGTH)
SIGN = slice(POSITION.stop, POSITION.stop + 2)
BALLAST = slice(SIGN.stop, SIGN.stop + 2)

SHARPNESS = 10.0
"""Attention logit of a match above that of a mismatch."""
GAIN = 10.0
"""Logit of a token that is predicted fully."""
BALLAST_SIZE = 10.0
NOISE = 0.1
"""Default size of what a random head or MLP writes, where a planted head writes about 1."""

INDUCTION_EDGES = (
    "input->a0.h1<v>",
    "a0.h1->a1.h2<k>",
    "input->a1.h2<q>",
    "input->a1.h2<v>",
    "a1.h2->logits",
)
DUPLICATE_EDGES = ("input->a1.h0<q>", "input->a1.h0<k>", "a1.h0->m2", "m2->logits")


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class PlantedPrompts:
    """Prompts on which a planted circuit is what solves the task; the fields are those of a counterfactual batch.

    A corrupted prompt is a prompt of the same task with another answer, the foil, drawn on its own; they share
    the position read, the first token and the mask.

    Attributes:
        clean_ids: Token ids, [examples, positions]; `corrupt_ids` alike.
        answer_ids: The next token after the clean prompt, [examples]; `foil_ids` after the corrupted one.
        position: Where the logits are read, [examples].
    """

    clean_ids: Tensor
    corrupt_ids: Tensor
    answer_ids: Tensor
    foil_ids: Tensor
    position: Tensor


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class PlantedCircuit:
    """A model, its circuit and its task.

    Attributes:
        name: Task and attention, e.g. `induction, causal`.
        module: The Transformers model.
        edges: The circuit, named as in `Graph.edges`.
        draw: (number of examples, seed) -> prompts.
    """

    name: str
    bidirectional: bool
    module: GPT2LMHeadModel
    edges: tuple[str, ...]
    draw: Callable[[int, int], PlantedPrompts]


def planted_induction(*, bidirectional: bool = False, noise: float = NOISE, seed: int = 0) -> PlantedCircuit:
    """Previous-token head -> induction head (by its keys) -> logits; see the module.

    Args:
        bidirectional: Whether positions see what stands to their right.
        noise: Size of what everything off the circuit writes, see `NOISE`; 0 leaves the planted weights alone.
        seed: Of the random weights.

    Raises:
        ValueError: if the noise is negative.
    """
    previous, induction = previous_token_head(0, 1), induction_head(1, 2)
    module = build([previous, induction], [], bidirectional=bidirectional, noise=noise, seed=seed)
    return PlantedCircuit(
        name=named("induction", bidirectional), bidirectional=bidirectional, module=module, edges=INDUCTION_EDGES,
        draw=lambda examples, seed: draw_pairs(examples, seed, induction_prompt, bidirectional),
    )  # fmt: skip


def planted_duplicate(*, bidirectional: bool = False, noise: float = NOISE, seed: int = 0) -> PlantedCircuit:
    """Duplicate-token head -> MLP -> logits; see the module. Clean prompts hold a duplicate, corrupted ones do not.

    Args:
        bidirectional: Whether positions see what stands to their right.
        noise: Size of what everything off the circuit writes, see `NOISE`; 0 leaves the planted weights alone.
        seed: Of the random weights.

    Raises:
        ValueError: if the noise is negative.
    """
    places = slice(VOCABULARY, VOCABULARY + LENGTH)
    sink = places.stop
    head = PlantedHead(layer=1, number=0)
    head.query[TOKEN, :VOCABULARY] = scaled(torch.eye(VOCABULARY))
    head.key[TOKEN, :VOCABULARY] = torch.eye(VOCABULARY)
    head.query[POSITION, places] = scaled(torch.eye(LENGTH))  # every token equals itself: never mind that
    head.key[POSITION, places] = -2 * torch.eye(LENGTH)
    head.query_bias[sink] = scaled(torch.tensor(1.0))
    head.key[POSITION.start, sink] = 0.5  # position 0 wins where nothing matches
    head.value[POSITION.start, 0] = -2.0  # -1 there and 1 elsewhere: its code is 1 - 1/LENGTH there, else -1/LENGTH
    head.value_bias[0] = 1 - 2 / LENGTH
    head.output[0, SIGN] = torch.tensor([0.5, -0.5])

    answers = []
    for token, sign in ((YES, 4.0), (NO, -4.0)):
        neuron = _Neuron(layer=2)
        neuron.read[SIGN] = torch.tensor([sign, -sign])
        neuron.write[PREDICTED] = _codes(VOCABULARY)[token] / 4
        answers.append(neuron)

    module = build([head], answers, bidirectional=bidirectional, noise=noise, seed=seed)
    return PlantedCircuit(
        name=named("duplicate", bidirectional), bidirectional=bidirectional, module=module, edges=DUPLICATE_EDGES,
        draw=lambda examples, seed: draw_pairs(examples, seed, _duplicate_prompt, bidirectional),
    )  # fmt: skip


def planted_circuits(*, noise: float = NOISE, seed: int = 0) -> tuple[PlantedCircuit, ...]:
    """Both tasks, causal and bidirectional."""
    return tuple(
        plant(bidirectional=bidirectional, noise=noise, seed=seed)
        for plant in (planted_induction, planted_duplicate)
        for bidirectional in (False, True)
    )


def previous_token_head(layer: int, number: int) -> PlantedHead:
    """A head that writes each position's preceding token."""
    tokens = torch.eye(VOCABULARY)
    previous = PlantedHead(layer=layer, number=number)
    previous.query[POSITION, :LENGTH] = scaled(torch.eye(LENGTH).roll(-1, dims=1))
    previous.query[POSITION.start, :LENGTH] = scaled(torch.eye(LENGTH)[0])  # there is nothing before position 0
    previous.key[POSITION, :LENGTH] = torch.eye(LENGTH)
    previous.value[TOKEN, :VOCABULARY] = tokens
    previous.output[:VOCABULARY, PREVIOUS] = tokens
    return previous


def induction_head(layer: int, number: int, *, gain: float = 1.0) -> PlantedHead:
    """A head that copies the token behind an earlier occurrence of the current one to the predictions, times a gain."""
    tokens = torch.eye(VOCABULARY)
    induction = PlantedHead(layer=layer, number=number)
    induction.query[TOKEN, :VOCABULARY] = scaled(tokens)
    induction.key[PREVIOUS, :VOCABULARY] = tokens
    induction.query_bias[VOCABULARY] = scaled(torch.tensor(1.0))
    induction.key[MASK, VOCABULARY] = -2.0
    induction.value[TOKEN, :VOCABULARY] = tokens
    induction.output[:VOCABULARY, PREDICTED] = gain * tokens
    return induction


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedHead:
    """Planted weights of a head: what it reads, [hidden, head_size] and biases, and writes, [head_size, hidden]."""

    layer: int
    number: int
    query: Tensor = field(default_factory=lambda: torch.zeros(HIDDEN, HEAD_SIZE))
    key: Tensor = field(default_factory=lambda: torch.zeros(HIDDEN, HEAD_SIZE))
    value: Tensor = field(default_factory=lambda: torch.zeros(HIDDEN, HEAD_SIZE))
    query_bias: Tensor = field(default_factory=lambda: torch.zeros(HEAD_SIZE))
    value_bias: Tensor = field(default_factory=lambda: torch.zeros(HEAD_SIZE))
    output: Tensor = field(default_factory=lambda: torch.zeros(HEAD_SIZE, HIDDEN))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Neuron:
    """Planted weights of a neuron of an MLP, [hidden] each."""

    layer: int
    read: Tensor = field(default_factory=lambda: torch.zeros(HIDDEN))
    write: Tensor = field(default_factory=lambda: torch.zeros(HIDDEN))


def build(
    heads: list[PlantedHead], neurons: list[_Neuron], *, bidirectional: bool, noise: float, seed: int
) -> GPT2LMHeadModel:
    """A model with planted heads and neurons, all else random.

    Raises:
        ValueError: if the noise is negative.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    if not noise >= 0:
        raise ValueError(f"noise: expected a number of at least 0, got {noise}")
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=HIDDEN, n_layer=LAYERS, n_head=HEADS, n_inner=NEURONS,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
        tie_word_embeddings=False, use_cache=False,
    )  # fmt: skip
    config.is_causal = not bidirectional
    module: GPT2LMHeadModel = GPT2LMHeadModel(config)
    parameters: dict[str, Any] = dict(module.named_parameters())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.zero_()
            if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")):
                # Ballast, and about one code each for the token, the position and what was written.
                parameter.fill_(((2 * BALLAST_SIZE**2 + 3) / HIDDEN) ** 0.5)
                parameter[BALLAST] = 0
        parameters["transformer.wte.weight"][:, TOKEN] = _codes(VOCABULARY)
        positions = parameters["transformer.wpe.weight"]
        positions[:, POSITION] = _codes(LENGTH)
        positions[:, BALLAST] = BALLAST_SIZE * torch.tensor([1.0, -1.0])
        for layer in range(LAYERS):
            _fill_at_random(parameters, layer, [h.number for h in heads if h.layer == layer], noise, generator)
        _plant(parameters, heads, neurons)
        unembedding = parameters["lm_head.weight"]
        unembedding += noise * torch.randn(unembedding.shape, generator=generator)
        unembedding[:, PREDICTED] += GAIN * torch.eye(VOCABULARY)
    module.eval()
    return module


def _fill_at_random(
    parameters: dict[str, Any], layer: int, planted: list[int], noise: float, generator: torch.Generator
) -> None:
    """Random weights of a block: inputs of random heads and neurons at full size, all else times the noise.

    Queries, keys and neurons are enlarged so that attention is not uniform and the MLP not linear.
    """

    def normal(*shape: int) -> Tensor:
        drawn: Tensor = torch.randn(*shape, generator=generator) / HIDDEN**0.5
        return drawn

    block = f"transformer.h.{layer}"
    by_head = normal(HIDDEN, 3, HEADS, HEAD_SIZE)
    by_head[:, :, planted] *= noise
    unplanted = [head for head in range(HEADS) if head not in planted]
    by_head[:, :2, unplanted] *= 8
    parameters[f"{block}.attn.c_attn.weight"] += by_head.flatten(1)
    parameters[f"{block}.mlp.c_fc.weight"] += 4 * normal(HIDDEN, NEURONS)
    for path, inputs in (("attn.c_proj", HIDDEN), ("mlp.c_proj", NEURONS)):
        written = noise * normal(inputs, HIDDEN)
        parameters[f"{block}.{path}.weight"] += written - written.mean(1, keepdim=True)


def _plant(parameters: dict[str, Any], heads: list[PlantedHead], neurons: list[_Neuron]) -> None:
    for head in heads:
        block = f"transformer.h.{head.layer}.attn"
        columns = slice(head.number * HEAD_SIZE, (head.number + 1) * HEAD_SIZE)
        read, bias = (parameters[f"{block}.c_attn.{kind}"].unflatten(-1, (3, HIDDEN)) for kind in ("weight", "bias"))
        read[:, :, columns] += torch.stack([head.query, head.key, head.value], dim=1)
        bias[0, columns] += head.query_bias
        bias[2, columns] += head.value_bias
        parameters[f"{block}.c_proj.weight"][columns] += head.output
    for number, neuron in enumerate(neurons):
        block = f"transformer.h.{neuron.layer}.mlp"
        parameters[f"{block}.c_fc.weight"][:, number] = neuron.read
        parameters[f"{block}.c_proj.weight"][number] = neuron.write


def _codes(size: int) -> Tensor:
    """One-hot codes minus their mean, [size, size]."""
    return torch.eye(size) - 1 / size


def scaled(weight: Tensor) -> Tensor:
    """What attention divides by sqrt(head_size), so that a match counts `SHARPNESS`."""
    scaled: Tensor = weight * (SHARPNESS * HEAD_SIZE**0.5)
    return scaled


def named(task: str, bidirectional: bool) -> str:
    """Name of a planted circuit."""
    return f"{task}, {'bidirectional' if bidirectional else 'causal'}"


def draw_pairs(
    examples: int, seed: int, prompt: Callable[..., tuple[list[int], int]], bidirectional: bool
) -> PlantedPrompts:
    """Pairs of prompts that are read at the same position and have different answers."""
    generator = torch.Generator().manual_seed(seed)
    clean, corrupt, positions = [], [], []
    for _ in range(examples):
        at = int(torch.randint(1, LENGTH - 1, (), generator=generator)) if bidirectional else LENGTH - 1
        pair = [prompt(at, original, generator) for original in (True, False)]
        while pair[0][1] == pair[1][1]:
            pair[1] = prompt(at, False, generator)
        clean.append(pair[0])
        corrupt.append(pair[1])
        positions.append(at)
    return PlantedPrompts(
        clean_ids=torch.tensor([ids for ids, _ in clean]),
        corrupt_ids=torch.tensor([ids for ids, _ in corrupt]),
        answer_ids=torch.tensor([answer for _, answer in clean]),
        foil_ids=torch.tensor([answer for _, answer in corrupt]),
        position=torch.tensor(positions),
    )


def induction_prompt(at: int, original: bool, generator: torch.Generator) -> tuple[list[int], int]:
    """Different tokens, of which one that has a successor is repeated at the position read; and that successor."""
    ids = _different_tokens(generator)
    after = {at + 1: MASK} if at + 1 < LENGTH else {}
    free = [place for place in range(1, LENGTH - 1) if not {place, place + 1} & {at, *after}]
    first = free[int(torch.randint(len(free), (), generator=generator))]
    for place, token in {at: ids[first], **after}.items():
        ids[place] = token
    return ids, ids[first + 1]


def _duplicate_prompt(at: int, original: bool, generator: torch.Generator) -> tuple[list[int], int]:
    """Different tokens, the one at the position read twice if `original`; and whether it is."""
    ids = _different_tokens(generator)
    if at + 1 < LENGTH:
        ids[at + 1] = MASK
    others = [place for place in range(1, LENGTH) if place not in (at, at + 1)]
    if original:
        ids[others[int(torch.randint(len(others), (), generator=generator))]] = ids[at]
    return ids, YES if original else NO


def _different_tokens(generator: torch.Generator) -> list[int]:
    content = torch.randperm(VOCABULARY - NO - 1, generator=generator)[: LENGTH - 1] + NO + 1
    return [BEGIN, *content.tolist()]
