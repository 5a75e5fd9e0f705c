"""Every method against a slow and direct implementation, in float64, on every architecture and in both directions."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from random_models import FAMILIES, write_random_model
from slow_attribution import SlowModel, slow_scores

from mechshift_core import CounterfactualBatch, attribute_edges, load_model
from mechshift_core.attribution import methods, node_scores, patch_nodes
from mechshift_core.attribution.methods import Method, Scoring, random_points, signed_ranks
from mechshift_core.attribution.rules import RULES
from mechshift_core.attribution.scoring import rules_of
from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Graph
from mechshift_core.interventions.edge_attribution import section
from mechshift_core.kinds.section import AttributionMethod
from mechshift_core.models import Model

PARADIGMS = ("autoregressive", "masked_diffusion")
EVERY_RUN = ("gpt2-masked_diffusion", "gemma2-autoregressive")
"""Plain and gated MLPs, both norms, caps, a window and shared heads; the others are behind `long` and `nightly`."""
MIDPOINTS = [0.25, 0.75]
METHODS: dict[str, dict[str, Any]] = {
    "eap": {},
    "eap-ig": {"alphas": MIDPOINTS},
    "eap-ig-activations": {"alphas": MIDPOINTS},
    "eap-ig-sources": {"alphas": MIDPOINTS},
    "expected-gradients": {},
    "gim": {},
    "relp": {},
}


def models() -> list[Any]:
    every = [(family, paradigm) for family in FAMILIES for paradigm in PARADIGMS]
    tier = {"autoregressive": pytest.mark.long, "masked_diffusion": pytest.mark.nightly}
    return [
        pytest.param(one, id="-".join(one), marks=() if "-".join(one) in EVERY_RUN else tier[one[1]]) for one in every
    ]


@pytest.fixture(scope="module", params=models())
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, SlowModel]:
    family, paradigm = request.param
    folder = write_random_model(family, tmp_path_factory.mktemp(family))
    model = load_model(folder, paradigm=paradigm, dtype="float64", device="cpu")
    return model, SlowModel(folder, bidirectional=paradigm == "masked_diffusion")


@pytest.fixture(scope="module")
def batch() -> CounterfactualBatch:
    return random_batch()


def random_batch() -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (3, 6), generator=draw) for _ in range(2))
    answers = torch.arange(3)
    return CounterfactualBatch(
        clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers, foil_ids=answers + 20,
        position=torch.tensor([5, 4, 3]),
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_the_slow_implementation(
    both: tuple[Model, SlowModel], batch: CounterfactualBatch, method: Any
) -> None:
    model, slow = both
    options = dict(METHODS[method])
    if method == "expected-gradients":
        options["points"] = random_points(batch, 1, 7)[0]
    found = attribute_edges(model, batch, method=method, steps=2, seed=7).values
    expected = slow_scores(slow, batch, method, **options)
    assert found.dtype == torch.float64
    assert float((found - expected).abs().max()) <= 1e-8 * float(expected.abs().max())


@pytest.fixture(scope="module", params=["qwen3", pytest.param("gpt_neox", marks=pytest.mark.long)])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = write_random_model(request.param, tmp_path_factory.mktemp(request.param))
    return load_model(folder, dtype="float64", device="cpu")


ALL: tuple[Any, ...] = tuple(METHODS)


def scores(model: Model, batch: CounterfactualBatch, method: Any, **options: Any) -> torch.Tensor:
    return attribute_edges(model, batch, method=method, **options).values


@pytest.mark.nightly
@pytest.mark.parametrize("method", ["eap-ig-activations", "eap-ig-sources", "expected-gradients", "gim", "relp"])
def test_scores_do_not_depend_on_the_batch_on_padding_or_on_roles(
    model: Model, batch: CounterfactualBatch, method: Any
) -> None:
    together = scores(model, batch, method)
    torch.testing.assert_close(scores(model, batch, method, batch_size=1), together)
    torch.testing.assert_close(scores(model, batch.rows(slice(2, 3)), method), together[2:])
    padding = torch.zeros(3, 2, dtype=torch.long)
    padded = replace(
        batch,
        clean_ids=torch.cat([padding, batch.clean_ids], dim=1),
        corrupt_ids=torch.cat([padding, batch.corrupt_ids], dim=1),
        attention_mask=torch.cat([padding, torch.ones(3, 6, dtype=torch.long)], dim=1),
        position=batch.position + 2,
    )
    torch.testing.assert_close(scores(model, padded, method), together)
    by_role = attribute_edges(model, batch, method=method, roles=torch.arange(6).expand(3, 6) % 2).by_role
    assert by_role is not None and by_role.shape[1] == 2
    torch.testing.assert_close(by_role.sum(1), together)


def test_the_scores_of_a_source_s_own_path_sum_to_what_replacing_it_does(
    model: Model, batch: CounterfactualBatch
) -> None:
    """Completeness of integrated gradients, for the heads of each layer together and for each MLP."""
    found = attribute_edges(model, batch, method="eap-ig-sources", steps=60, quadrature="gauss-legendre")
    nodes = node_scores(model.shape, found)
    sources = [source for source in Graph.of(model.shape).sources if source.kind != "input"]
    components = [[one.name] for one in sources if one.kind == "mlp"]
    components += [[one.name for one in sources if (one.kind, one.layer) == ("head", layer)] for layer in range(2)]
    patched = patch_nodes(model, batch, components)
    for names, metric in zip(components, patched, strict=True):
        total = sum(nodes.values[:, nodes.nodes.index(name)] for name in names)
        torch.testing.assert_close(total, found.clean_metric - metric, atol=1e-3, rtol=1e-3)


def test_expected_gradients_are_the_integral_on_average(model: Model, batch: CounterfactualBatch) -> None:
    integral = scores(model, batch, "eap-ig", steps=60, quadrature="gauss-legendre")
    found = attribute_edges(model, batch, method="expected-gradients", draws=60)
    assert found.draw_variance is not None
    error = (found.draw_variance / 60).sqrt()
    z = ((found.values - integral) / error)[error > 1e-9]
    assert float(z.abs().max()) < 5 and 0.5 < float(z.square().mean().sqrt()) < 1.6


def test_the_variance_of_draws_is_that_of_single_draws(model: Model, batch: CounterfactualBatch) -> None:
    found = attribute_edges(model, batch, method="expected-gradients", draws=4, seed=3)
    points = random_points(batch, 4, 3)
    path = [[(alphas, 1.0)] for alphas in points]
    singles = torch.stack([single_draw(model, batch, step) for step in path])
    torch.testing.assert_close(found.values, singles.mean(0))
    torch.testing.assert_close(found.draw_variance, singles.var(0))
    assert attribute_edges(model, batch, method="expected-gradients", seed=3).draw_variance is None


def single_draw(model: Model, batch: CounterfactualBatch, step: Any) -> torch.Tensor:
    from mechshift_core.attribution.gradients import differentiate
    from mechshift_core.attribution.scoring import Passes

    passes = Passes(model, batch, 1)
    contraction = passes.contraction(passes.differences(*passes.ends()))
    differentiate(model, batch, step, {}, lambda _: contraction)
    return contraction.edges()[:, 0]


def test_random_points_are_the_example_s_own(batch: CounterfactualBatch) -> None:
    points = random_points(batch, 5, 0)
    assert points.shape == (5, 3) and len(points.unique()) == 15
    torch.testing.assert_close(random_points(batch.rows(slice(1, 3)), 5, 0), points[:, 1:])
    torch.testing.assert_close(random_points(batch, 2, 0), points[:2])
    assert not torch.equal(random_points(batch, 5, 1), points)
    many = replace(
        batch, clean_ids=batch.clean_ids.repeat(60, 1) + torch.arange(180)[:, None],
        corrupt_ids=batch.corrupt_ids.repeat(60, 1), answer_ids=batch.answer_ids.repeat(60, 1),
        foil_ids=batch.foil_ids.repeat(60, 1), position=torch.as_tensor(batch.position).repeat(60),
    )  # fmt: skip
    drawn = random_points(many, 20, 0).flatten()
    assert abs(float(drawn.mean()) - 0.5) < 0.02 and abs(float(drawn.var()) - 1 / 12) < 0.005


@pytest.mark.parametrize("method", ["gim", "relp"])
def test_rules_leave_the_model_and_its_values_as_they_are(
    model: Model, batch: CounterfactualBatch, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def state() -> tuple[Any, ...]:
        module: Any = model.module
        hooks = [(len(one._forward_hooks), len(one._forward_pre_hooks)) for one in module.modules()]
        return module.config._attn_implementation, hooks, f"mechshift_{method}" in ALL_ATTENTION_FUNCTIONS

    before, plain = state(), attribute_edges(model, batch, method="eap")
    found = attribute_edges(model, batch, method=method)
    assert state() == before
    torch.testing.assert_close(found.clean_metric, plain.clean_metric)
    torch.testing.assert_close(found.corrupt_metric, plain.corrupt_metric)
    assert not torch.allclose(found.values, plain.values, rtol=1e-2)
    monkeypatch.setattr("mechshift_core.attribution.scoring.differentiate", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attribute_edges(model, batch, method=method)
    monkeypatch.undo()
    assert state() == before
    torch.testing.assert_close(scores(model, batch, "eap"), plain.values, rtol=0, atol=0)


def test_by_the_rules_of_relp_queries_and_keys_have_no_relevance(model: Model, batch: CounterfactualBatch) -> None:
    found = attribute_edges(model, batch, method="relp")
    kinds = {receiver.name: receiver.kind for receiver in Graph.of(model.shape).receivers}
    into = [kinds[edge.partition("->")[2]] for edge in found.edges]
    none = torch.tensor([kind in "qk" for kind in into])
    assert found.values[:, none].abs().max() == 0 and bool((found.values[:, ~none] != 0).any(0).all())


def test_what_rules_are_not_derived_for_is_refused_by_name(tmp_path: Path, batch: CounterfactualBatch) -> None:
    model = load_model(write_random_model("llama", tmp_path), device="cpu")
    mlp: Any = model.view.module(model.view.declaration.mlp, 1)
    function, forward = mlp.act_fn, mlp.forward
    mlp.act_fn = torch.nn.Softmax(dim=-1)
    with pytest.raises(
        ExecutionError, match=r"'gim' is not derived for LlamaForCausalLM.*no function of single numbers"
    ):
        attribute_edges(model, batch, method="gim")
    mlp.act_fn = torch.nn.Sigmoid()
    with pytest.raises(ExecutionError, match=r"'relp' is not derived.*the Sigmoid of 0 is 0.5"):
        attribute_edges(model, batch, method="relp")
    mlp.act_fn = function
    mlp.forward = lambda x: 2 * forward(x)
    with pytest.raises(ExecutionError, match="a LlamaMLP is not the MLP that the rules of the method 'relp'"):
        attribute_edges(model, batch, method="relp")
    mlp.forward = forward
    mlp.expert_proj = torch.nn.Linear(16, 24)
    with pytest.raises(ExecutionError, match="has the linear maps gate_proj, up_proj, down_proj, expert_proj"):
        attribute_edges(model, batch, method="relp")
    del mlp.expert_proj
    attention: Any = model.view.module("self_attn", 0)
    attention.sink = torch.nn.Bilinear(2, 2, 2)
    with pytest.raises(ExecutionError, match=r"layer 0: self_attn.sink is a Bilinear; use eap"):
        attribute_edges(model, batch, method="rank-average", methods=("eap", "gim"))
    assert attribute_edges(model, batch, method="eap").values.abs().max() > 0


def test_attention_that_is_not_computed_by_the_registered_function_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(write_random_model("llama", tmp_path), device="cpu")
    monkeypatch.setattr("mechshift_core.attribution.scoring.prove_rules", lambda *given: calls.append(given[-1]))
    calls: list[int] = []
    rules_of(model, Scoring(method="gim"))
    assert calls == [model.shape.layers]
    monkeypatch.undo()
    monkeypatch.setattr("mechshift_core.attribution.rules.attention_kernel", lambda *_: contextlib.nullcontext())
    with pytest.raises(ExecutionError, match="2 layers called a registered attention 0 times"):
        rules_of(model, Scoring(method="gim"))


def test_signed_ranks() -> None:
    found = signed_ranks(torch.tensor([[0.5, -2.0, 0.0, 1.0], [3.0, -3.0, 1.0, 1.0]], dtype=torch.float64))
    expected = torch.tensor([[0.5, -1.0, 0.0, 0.75], [0.875, -0.875, 0.375, 0.375]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_the_average_rank_is_that_of_its_members(model: Model, batch: CounterfactualBatch) -> None:
    members = ("eap", "gim", "expected-gradients")
    found = scores(model, batch, "rank-average", methods=members, seed=2)
    expected = torch.stack([signed_ranks(scores(model, batch, one, seed=2)) for one in members]).mean(0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ((), "expected two or more different ones"),
        (("eap",), "expected two or more"),
        (("eap", "eap"), "two or more different ones"),
        (("eap", "exact"), "'exact' is none"),
        (("eap", "rank-average"), "'rank-average' is none"),
        (("eap", "gym"), "methods.*got 'gym'"),
    ],
)
def test_ranks_of_methods_that_can_not_be_averaged(members: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scoring(method="rank-average", methods=members)


def test_ranks_are_no_sum_over_roles(model: Model, batch: CounterfactualBatch) -> None:
    with pytest.raises(ValueError, match="ranks edges over all positions, so it has no scores by token role"):
        attribute_edges(
            model, batch, method="rank-average", methods=("eap", "gim"), roles=torch.zeros(3, 6, dtype=torch.long)
        )


def test_a_spec_and_the_functions_know_the_same_methods() -> None:
    assert get_args(Method) == get_args(AttributionMethod)
    assert methods.ON_PATH == section.ON_PATH and set(methods.WITHOUT_ROLES) == set(section.WITHOUT_ROLES)
    assert set(RULES) < set(get_args(Method)) and set(ALL) < set(get_args(Method))
