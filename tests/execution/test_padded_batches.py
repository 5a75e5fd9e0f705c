"""Prompts of any lengths in padded batches: each cell holds what each prompt gives alone, in the order of prompts."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import FAMILIES, write_random_model
from studies import EVERY_KIND, write_study
from torch import Tensor

from mechshift_core import load_spec
from mechshift_core.execution import batches, hands, runner
from mechshift_core.execution.batches import row_groups, to_batch
from mechshift_core.execution.cells import name_cells
from mechshift_core.execution.lengths import COMMON, WASTE, common_lengths, length_of, padded_widths
from mechshift_core.execution.plan import SHARD, Plan, make_plan
from mechshift_core.execution.reading import Reading, reveal_orders
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.stream import Array, open_tensors
from mechshift_core.kinds import INTERVENTIONS
from mechshift_core.models import Model
from mechshift_core.tasks.counterfactual import Dataset, Example

OTHERS: list[dict[str, object]] = [
    {"name": "zeros", "kind": "ablation", "components": ["heads", "mlps"], "ablation": "zero"},
    {"name": "swapped", "kind": "ablation", "components": ["mlps"], "ablation": "counterfactual"},
    {"name": "emptied", "kind": "circuit_patching", "of": "circuit", "sizes": [30], "random": 0, "ablation": "zero"},
    {"name": "felled", "kind": "targeted_ablation", "of": "circuit", "size": 2, "random": 1, "ablation": "zero"},
]
"""Beside those of `EVERY_KIND`, what is ablated in ways that can be padded."""
PADDED = [
    "circuit", "curve", "carried", "patched", "lens", "path", "neurons", "read", "looked", "moved", "crossed",
    "between", "zeros", "swapped", "emptied", "felled",
]  # fmt: skip
"""Names of the interventions of which several lengths are one batch: all but means and resampling."""
MORE = {"carried", "swapped", "emptied", "path", "crossed", "between"}
"""Those left to the tests with the marker `long`."""
LOAD = hands.load_planned
MASK = 39


def example_of(draw: random.Random, length: int, *, revealed: int, masks: int) -> Example:
    """A pair whose answer stands among the tokens of a completion, some before it, some behind it."""

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(38) for _ in range(count))

    clean = tokens(length)
    return Example(
        template=draw.choice(["one", "two"]), clean_ids=clean, corrupt_ids=((clean[0] + 1) % 38, *tokens(length - 1)),
        answer_ids=tuple(range(draw.randint(30, 37))), foil_ids=(37,), masks=masks, clean="", corrupt="",
        answer=draw.choice(["a", "b"]), foil="f", roles=("subject", *["other"] * (length - 2), "end"),
        revealed=revealed, clean_rest_ids=tokens(masks - 1), corrupt_rest_ids=tokens(masks - 1),
    )  # fmt: skip


def dataset_of(lengths: list[tuple[int, int, int]], seed: int) -> Dataset:
    draw = random.Random(seed)
    made = [example_of(draw, length, revealed=revealed, masks=masks) for length, revealed, masks in lengths]
    return Dataset("mine", "logit_difference", len(made), tuple(made))


@cache
def study(family: str) -> Path:
    """Random models of a family, an autoregressive one before and a masked diffusion one after, and the spec."""
    folder = Path(tempfile.mkdtemp(prefix="padded-batches-"))
    for number, name in enumerate(("before", "after", "continued")):
        write_random_model(family, folder / name, seed=number)
    path = write_study(folder, diffusion=True, interventions=[*EVERY_KIND, *OTHERS], rule="none")
    text = path.read_text().replace("device: cpu", "device: cpu\n  dtype: float64")
    path.write_text(text + "denoising: {steps: 2}\n")
    return path


@cache
def plan_of(family: str) -> Plan:
    return make_plan(load_spec(study(family)))


@cache
def loaded(family: str, name: str) -> Model:
    return replace(LOAD(plan_of(family), name), mask_token_id=MASK)  # an autoregressive one sees hidden tokens, too


def every_length(examples: Sequence[Example], *, diffusion: bool) -> frozenset[tuple[int, int, int]]:
    return frozenset(length_of(one, diffusion=diffusion) for one in examples)


def cells(
    family: str, dataset: Dataset, *, pads: bool, size: int | str = "auto", names: Collection[str] = ()
) -> dict[str, dict[str, Array]]:
    """What the cells of the study hold, of the interventions of some names or of all, with or without padding."""
    plan = plan_of(family)
    interventions = [one for one in plan.spec.interventions if one.name in names or not names]
    execution = plan.spec.execution.model_copy(update={"batch_size": size})
    changes = {"execution": execution, "interventions": tuple(interventions), "pairs": plan.spec.pairs[:1]}
    models = {name: plan.models[name] for name in ("before", "after")}
    spec = plan.spec.model_copy(update=changes)
    plan = replace(plan, spec=spec, models=models, datasets={"mine": dataset}, alternatives=())
    plan = replace(plan, cells=name_cells(plan.spec, plan.models, plan.datasets, shard=SHARD))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(hands, "load_planned", lambda _, model: loaded(family, model))
        if not pads:
            patch.setattr(batches, "common_lengths", every_length)
        folder = RunFolder(Path(name))
        with folder.claim():
            done = runner.execute(plan, folder)
        assert not done.failures
        stored = {f"{cell} {cell.key}": open_tensors(folder.cell_file(cell.key)) for cell in plan.cells}
        return {cell: {name: np.array(one) for name, one in tensors.items()} for cell, tensors in stored.items()}


def assert_alike(found: dict[str, dict[str, Array]], expected: dict[str, dict[str, Array]]) -> None:
    """Cells hold float32: numbers are alike to its rounding."""
    assert found.keys() == expected.keys()
    for cell, tensors in expected.items():
        for name, values in tensors.items():
            if values.dtype.kind == "f":
                bound = 5e-7 * max(1.0, float(np.abs(values).max(initial=0)))
                np.testing.assert_allclose(found[cell][name], values, atol=bound, rtol=0, err_msg=f"{cell}: {name}")
            else:
                np.testing.assert_array_equal(found[cell][name], values, err_msg=f"{cell}: {name}")


@st.composite
def drawn_lengths(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Tokens, revealed tokens and masks of prompts; each twice, so that there are means over a length."""
    once = draw(
        st.lists(
            st.tuples(st.integers(4, 12) | st.just(24), st.integers(0, 2), st.integers(1, 2)),
            min_size=3, max_size=5, unique=True,
        )
    )  # fmt: skip
    return draw(st.permutations([*once, *once]))


@pytest.mark.long
def test_every_kind_gives_in_padded_batches_what_it_gives_without() -> None:
    lengths = [(8, 0, 1), (24, 1, 2), (9, 1, 2), (8, 0, 2), (11, 2, 1)]
    dataset, names = dataset_of(lengths, 5), [name for name in PADDED if name not in MORE]
    found = cells("gemma3_text", dataset, pads=True, names=names)
    assert_alike(found, cells("gemma3_text", dataset, pads=False, names=names))


@pytest.mark.long
@pytest.mark.parametrize("name", ["circuit", "lens", "zeros"])
def test_batches_may_be_of_any_size(name: str) -> None:
    dataset = dataset_of([(8, 0, 1), (9, 1, 2), (10, 0, 1), (11, 2, 1)], 6)
    names = {"circuit", name}
    alone = cells("qwen2", dataset, pads=False, size=1, names=names)
    assert_alike(cells("qwen2", dataset, pads=True, size=3, names=names), alone)


@pytest.mark.nightly
def test_a_padded_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, names = dataset_of([(8, 0, 1), (9, 1, 2), (10, 0, 1), (11, 2, 1), (9, 0, 2)], 7), {"circuit", "zeros"}
    whole = cells("qwen2", dataset, pads=True, names=names)
    sizes: set[int] = set()
    for name in ("before", "after"):
        module: Any = loaded("qwen2", name).module
        forward = module.forward

        def small_memory(input_ids: Tensor, forward: Any = forward, **options: Any) -> Any:
            if len(input_ids) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            sizes.add(len(input_ids))
            return forward(input_ids=input_ids, **options)

        monkeypatch.setattr(module, "forward", small_memory)
    assert_alike(cells("qwen2", dataset, pads=True, names=names), whole)
    assert max(sizes) > 1


ALL_KINDS = ("gemma2", "gpt2", "qwen2")
"""Architectures with sliding windows, with learned and with rotary positions. Attribution is padded on all of them."""


@pytest.mark.nightly
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name == "gemma2" else [pytest.mark.nightly]) for name in FAMILIES]
)
@settings(max_examples=2)
@given(lengths=drawn_lengths(), seed=st.integers(0, 2**32), size=st.sampled_from(["auto", 2, 5]))
def test_every_kind_of_every_architecture_in_padded_batches(
    family: str, lengths: list[tuple[int, int, int]], seed: int, size: int | str
) -> None:
    dataset = dataset_of(lengths, seed)
    names = () if family in ALL_KINDS else {"circuit", "zeros"}
    padded = cells(family, dataset, pads=True, size=size, names=names)
    assert_alike(padded, cells(family, dataset, pads=False, names=names))


def test_kinds_that_mix_prompts_keep_groups_of_one_length() -> None:
    sections = load_spec(study("qwen2")).interventions
    assert [one.name for one in sections if INTERVENTIONS[one.kind].cells.pads(one)] == PADDED


prompts = st.lists(st.tuples(st.integers(2, 30), st.integers(0, 1), st.integers(1, 3)), min_size=1, max_size=80)


@given(lengths=prompts, diffusion=st.booleans(), by_state=st.booleans(), pads=st.booleans())
def test_groups_hold_every_prompt_in_order_and_little_padding(
    lengths: list[tuple[int, int, int]], diffusion: bool, by_state: bool, pads: bool
) -> None:
    examples = dataset_of(lengths, 0).examples
    model = loaded("qwen2", "after" if diffusion else "before")
    common = common_lengths(examples, diffusion=diffusion) if pads else None
    groups = row_groups(model, examples, Reading(steps=2), by_state=by_state, common=common)
    held = Counter(number for group in groups for number in group.numbers)
    assert held.keys() == set(range(len(examples)))
    for group in groups:
        assert group.numbers == sorted(group.numbers)
        of_group = [length_of(examples[number], diffusion=diffusion) for number in group.numbers]
        width = max(map(sum, of_group))
        assert all(sum(one) >= (1 - WASTE) * width for one in of_group)
        assert len(set(of_group)) == 1 or (pads and common is not None and not common & set(of_group))
        assert not by_state or len(set(group.numbers)) == len(group.numbers)


@given(lengths=prompts)
def test_without_padding_groups_are_those_of_each_length(lengths: list[tuple[int, int, int]]) -> None:
    examples = dataset_of(lengths, 0).examples
    groups = row_groups(loaded("qwen2", "after"), examples, Reading())
    found = [(length_of(examples[group.numbers[0]], diffusion=True), group.numbers) for group in groups]
    every = [length_of(example, diffusion=True) for example in examples]
    assert found == [(one, [n for n, other in enumerate(every) if other == one]) for one in dict.fromkeys(every)]


@given(st.sets(st.integers(1, 200), min_size=1))
def test_widths_are_the_fewest_that_waste_no_more(lengths: set[int]) -> None:
    widths = padded_widths(lengths)
    assert widths.keys() == lengths
    assert all((1 - WASTE) * width <= length <= width for length, width in widths.items())
    firsts = sorted(set(widths.values()))
    # The longest of each group can't be padded to the next: none of these can share a width.
    assert all(first < (1 - WASTE) * second for first, second in pairwise(firsts))


def test_lengths_that_many_prompts_have_are_not_padded() -> None:
    examples = dataset_of([(8, 0, 1)] * COMMON + [(9, 0, 1)] * (COMMON - 1), 0).examples
    assert common_lengths(examples, diffusion=False) == {(8, 0, 0)}
    assert common_lengths(examples * 2, diffusion=True) == {(8, 1, 0), (9, 1, 0)}
    few = [*examples, *dataset_of([(5, 0, 1)] * 200, 0).examples]  # as many, but of more: few in each cell
    assert common_lengths(few, diffusion=False) == {(5, 0, 0)}


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([10, 11], 1),  # by one
        ([40, 8, 8, 9], 2),  # one long prompt among short ones does not make these long
        ([7], 1),
        (list(range(12, 31)) * 3, 3),
    ],
)
def test_how_many_batches_there_are(lengths: list[int], groups: int) -> None:
    examples = dataset_of([(length, 0, 1) for length in lengths], 0).examples
    found = row_groups(loaded("qwen2", "before"), examples, Reading(), common=frozenset())
    assert len(found) == groups
    assert len(row_groups(loaded("qwen2", "before"), examples, Reading())) == len(set(lengths))


@pytest.mark.long
@settings(max_examples=10)
@given(lengths=drawn_lengths(), seed=st.integers(0, 99), steps=st.sampled_from(["per_token", 1, 2]))
def test_the_order_of_revealing_is_that_of_each_prompt_alone(
    lengths: list[tuple[int, int, int]], seed: int, steps: Any
) -> None:
    model, examples = loaded("gemma3_text", "after"), dataset_of(lengths, seed).examples
    reading = Reading("confidence", steps)
    alone = [reveal_orders(model, [example], reading)[0] for example in examples]
    assert reveal_orders(model, examples, reading) == alone


def test_a_batch_of_one_length_is_not_padded() -> None:
    model, dataset = loaded("qwen2", "after"), dataset_of([(6, 0, 2), (7, 0, 1)], 0)
    batch = to_batch(model, dataset, dataset.examples)
    assert batch.attention_mask is None
    assert batch.position.tolist() == [5, 6]  # type: ignore[union-attr]
    wider = dataset_of([(6, 0, 2), (7, 1, 3)], 0)
    batch = to_batch(model, wider, wider.examples)
    assert batch.present.sum(1).tolist() == [8, 10]
    assert batch.attention_mask is not None and batch.attention_mask[0].tolist() == [1] * 8 + [0] * 2
