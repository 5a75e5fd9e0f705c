"""Options of public functions: words that are not known and numbers out of range are refused, with what is expected."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch

import mechshift_core
import mechshift_core.attribution
import stats
from mechshift_core import pipeline
from mechshift_core.attribution import ablation, edges
from mechshift_core.errors import UsageError
from mechshift_core.interventions.ablation.section import Ablation
from mechshift_core.interventions.attention import mass
from mechshift_core.interventions.circuits.section import CircuitPatching
from mechshift_core.interventions.edge_attribution.section import EdgeAttribution
from mechshift_core.interventions.logit_lens import lens
from mechshift_core.interventions.neurons import scores
from mechshift_core.interventions.probe.section import Probe
from mechshift_core.measures.depth.section import Depth
from mechshift_core.measures.overlap.section import Overlap
from mechshift_core.models import load
from mechshift_core.spec import Spec, load_spec
from mechshift_core.spec.models import ModelSpec
from mechshift_core.spec.schema import Execution
from mechshift_core.spec.statistics import Bootstrap, Statistics
from stats import probes
from stats.options import Count, Range, Seed, Share, annotations_of, checked, kinds_of

PUBLIC: dict[str, Callable[..., object]] = {
    **{f"stats.{name}": getattr(stats, name) for name in stats.__all__ if inspect.isfunction(getattr(stats, name))},
    **{
        f"attribution.{name}": getattr(mechshift_core.attribution, name)
        for name in mechshift_core.attribution.__all__
        if inspect.isfunction(getattr(mechshift_core.attribution, name))
    },
    **{name: found for name in mechshift_core.__all__ if inspect.isfunction(found := getattr(mechshift_core, name))},
    "stats.probes.cross_validated_probe": probes.cross_validated_probe,
    "ablation.replacement_of": ablation.replacement_of,
    "edges.integration_path": edges.integration_path,
    "attention_mass": mass.attention_mass,
    "neuron_scores": scores.neuron_scores,
    "read_lens": lens.read_lens,
    "models.load_model": load.load_model,
    "pipeline.analyze": pipeline.analyze,
    "pipeline.report": pipeline.report,
    "pipeline.calibrate": pipeline.calibrate,
}
NAN = float("nan")
Case = tuple[str, str, object]


def options() -> Iterator[tuple[str, str, Any]]:
    """(function, parameter, alternatives of its type) for every parameter that is an option."""
    for name, function in PUBLIC.items():
        for parameter, annotation in annotations_of(function):
            kinds = kinds_of(annotation)
            if kinds is not None:
                yield name, parameter, kinds


def wrong(kinds: list[Any]) -> Iterator[object]:
    """Values that no alternative of a type takes."""
    text = any(kind is str for kind in kinds)
    if not text:
        yield "banana"
    numbers = [kind for kind in kinds if kind in (int, float) or get_origin(kind) is Annotated]
    for kind in numbers:
        base, *extras = get_args(kind) or (kind,)
        ranges = [extra for extra in extras if isinstance(extra, Range)]
        yield True
        yield from (value for value in (NAN,) if not any(one.nan for one in ranges))
        yield from (value for value in (0, -1, 2, 10**9) if not all(one.holds(value) for one in ranges))
        yield from (2.0, "3") if base is int and not text else ()
    if any(get_origin(kind) is Sequence and str not in (kinds_of(get_args(kind)[0]) or ()) for kind in kinds):
        yield ["banana"]
    if any(kind is bool for kind in kinds):
        yield 1


CASES: list[Case] = [(name, parameter, value) for name, parameter, kinds in options() for value in wrong(kinds)]


def refused(name: str, parameter: str, value: object) -> str:
    """The message of a call in which one option is wrong; nothing else is looked at before it."""
    function = PUBLIC[name]
    needed = [one for one in inspect.signature(function).parameters.values() if one.default is one.empty]
    rest = {one.name: object() for one in needed if one.name != parameter}
    known = dict(annotations_of(function))
    rest = {key: _right(kinds_of(known[key])) if kinds_of(known[key]) else other for key, other in rest.items()}
    with pytest.raises((ValueError, UsageError)) as caught:
        function(**{**rest, parameter: value})
    return str(caught.value)


def _right(kinds: list[Any] | None) -> object:
    for kind in kinds or ():
        if get_origin(kind) is Literal:
            return get_args(kind)[0]
        if get_origin(kind) is Sequence:
            return [_right(kinds_of(get_args(kind)[0]))]
        if kind is bool:
            return True
        if kind in (int, float) or get_origin(kind) is Annotated:
            return 0.5 if (get_args(kind) or (kind,))[0] is float else 1
    return "x"


@pytest.mark.parametrize(("name", "parameter", "value"), CASES, ids=[f"{n}-{p}-{v!r}" for n, p, v in CASES])
def test_an_option_that_is_not_taken_is_refused_with_what_is_expected(name: str, parameter: str, value: object) -> None:
    message = refused(name, parameter, value)
    assert re.match(rf"{parameter}(\[0\])?: expected .+, got ", message), message
    if value == "banana":
        assert "'banana'" in message


def test_every_kind_of_option_is_among_them() -> None:
    found = {(name.rpartition(".")[2], parameter) for name, parameter, _ in options()}
    assert found >= {
        ("bootstrap_interval", "method"), ("bootstrap_interval", "statistic"), ("bootstrap_interval", "seed"),
        ("bootstrap_interval", "confidence"), ("bootstrap_interval", "replicates"),
        ("difference_test", "alternative"), ("specializations", "indices"), ("retention_index", "top_k"),
        ("retention_index", "units"), ("shift_frame", "scale"), ("tost", "margin"), ("top_k", "k"),
        ("attribute_edges", "method"), ("attribute_edges", "quadrature"), ("attribute_edges", "steps"),
        ("attribute_edges", "batch_size"), ("evaluate_circuits", "ablation"), ("patch_nodes", "ablation"),
        ("load_model", "paradigm"), ("load_model", "dtype"), ("load_model", "device"), ("load_model", "attention"),
        ("load_model", "shifted"), ("run", "out"), ("report", "static"), ("calibrate", "repetitions"),
    }  # fmt: skip
    assert len(CASES) > 300


@pytest.mark.parametrize("name", PUBLIC)
def test_no_number_word_or_switch_of_a_public_function_is_unchecked(name: str) -> None:
    function = PUBLIC[name]
    unchecked = [
        parameter
        for parameter, one in inspect.signature(function).parameters.items()
        if re.fullmatch(
            r"(int|float|bool|str|Literal\[.*\]|\w*(Count|Seed|Share|Positive))( \| None)?", str(one.annotation)
        )
    ]
    held = hasattr(function, "__wrapped__")
    assert held or unchecked == [], f"{name} needs @checked for {unchecked}"


def test_the_message_is_that_of_a_spec(tmp_path: Path) -> None:
    text = (Path(mechshift_core.__file__).parent / "spec" / "templates" / "quickstart.yaml").read_text()
    changed = re.sub(r"method: eap-ig", "method: eap-gi", text)
    assert changed != text
    (tmp_path / "s.yaml").write_text(changed)
    with pytest.raises(UsageError) as of_spec:
        load_spec(tmp_path / "s.yaml")
    said = refused("attribute_edges", "method", "eap-gi").removeprefix("method: ")
    assert said in str(of_spec.value)
    assert said.endswith("got 'eap-gi' (did you mean 'eap-ig'?)")


def test_a_metric_that_is_not_known_is_refused() -> None:
    ids = torch.tensor([[1, 2]])
    with pytest.raises(ValueError, match=r"metric: expected 'logit_difference', .* or 'log_probability', got 'ban"):
        mechshift_core.CounterfactualBatch(
            clean_ids=ids, corrupt_ids=ids, answer_ids=ids[:, 0], foil_ids=ids[:, 1],
            metric="banana",
        )  # fmt: skip


@pytest.mark.parametrize("name", ["pipeline.analyze", "pipeline.report"])
def test_paths_may_be_strings(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        PUBLIC[name](os.fspath(tmp_path))


def test_defaults_are_those_of_a_spec() -> None:
    """What a spec and a function both have, they have with the same default."""
    same: list[tuple[Callable[..., object], type, dict[str, str]]] = [
        (
            mechshift_core.attribute_edges,
            EdgeAttribution,
            {"method": "method", "steps": "steps", "quadrature": "quadrature"},
        ),
        (
            edges.edge_score_blocks,
            EdgeAttribution,
            (
                "method",
                "steps",
                "quadrature",
            ),
        ),
        (mechshift_core.evaluate_circuits, CircuitPatching, ("ablation",)),
        (
            stats.bootstrap_interval,
            Bootstrap,
            (
                "method",
                "replicates",
            ),
        ),
        (
            stats.mean_intervals,
            Bootstrap,
            (
                "method",
                "replicates",
            ),
        ),
        (stats.bootstrap_interval, Statistics, ("confidence",)),
        (stats.difference_test, Statistics, ("confidence",)),
        (stats.fit_mixed_model, Statistics, ("confidence",)),
        (stats.split_half_overlap, Overlap, ("splits",)),
        (stats.retention_index, Overlap, ("splits",)),
        (stats.stratified_permutation_null, Overlap, ("permutations",)),
        (
            stats.threshold_free_overlap,
            Overlap,
            (
                "splits",
                "permutations",
            ),
        ),
        (probes.cross_validated_probe, Probe, ("shuffles",)),
        (
            mechshift_core.load_model,
            ModelSpec,
            (
                "dtype",
                "mask_token",
                "revision",
            ),
        ),
        (mechshift_core.load_model, Execution, ("device",)),
    ]
    for function, section, shared in same:
        parameters = inspect.signature(function).parameters
        for name in shared:
            expected = section.model_fields[name].default  # type: ignore[attr-defined]
            assert parameters[name].default == expected, (function.__name__, name)
    early = inspect.signature(stats.early_share).parameters["early"].default
    assert early == pytest.approx(
        Depth.model_fields["early"].default, abs=1e-3
    )  # a third, in as many digits as one writes


def test_words_are_those_of_a_spec() -> None:
    known = dict(annotations_of(mechshift_core.attribute_edges))
    for name in ("method", "quadrature"):
        assert get_args(known[name]) == get_args(EdgeAttribution.model_fields[name].annotation)
    assert get_args(ablation.Ablation) == get_args(Ablation.model_fields["ablation"].annotation)
    assert get_args(dict(annotations_of(load.load_model))["device"]) == get_args(
        Execution.model_fields["device"].annotation
    )
    assert set(get_args(dict(annotations_of(load.load_model))["paradigm"])) == set(
        get_args(ModelSpec.model_fields["paradigm"].annotation)
    )
    methods = dict(annotations_of(stats.bootstrap_interval))["method"]
    assert set(get_args(methods)) == set(get_args(Bootstrap.model_fields["method"].annotation))
    assert Spec.model_fields["seed"].default == inspect.signature(stats.bootstrap_interval).parameters["seed"].default


@checked
def example(
    values: list[int],
    *,
    kind: Literal["mean", "median"] | Callable[[int], int] = "mean",
    count: Count = 1,
    share: Share | None = None,
    seed: Seed = 0,
    sizes: Sequence[Count] = (1,),
    path: str | os.PathLike[str] = "x",
) -> int:
    return len(values)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "men"}, "kind: expected 'mean' or 'median' or a function, got 'men' (did you mean 'mean'?)"),
        ({"kind": None}, "kind: expected 'mean' or 'median' or a function, got None"),
        ({"count": 0}, "count: expected at least 1, got 0"),
        ({"count": np.float64(1)}, "count: expected an integer, at least 1, got np.float64(1.0)"),
        ({"count": np.True_}, "count: expected an integer, at least 1, got np.True_"),
        ({"share": 1}, "share: expected a number between 0 and 1 or None, got 1"),
        ({"share": NAN}, "share: expected a number between 0 and 1 or None, got nan"),
        ({"seed": -1}, "seed: expected an integer >= 0, got -1"),
        ({"sizes": [1, 2, 0]}, "sizes[2]: expected at least 1, got 0"),
        ({"sizes": "12"}, "sizes: expected a list, each an integer, at least 1, got '12'"),
        ({"sizes": 5}, "sizes: expected a list, each an integer, at least 1, got 5"),
        ({"path": 5}, "path: expected text or a path, got 5"),
    ],
)
def test_messages_say_what_is_expected_and_what_came(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        example([1], **given)
    assert str(caught.value) == message


def test_what_fits_passes() -> None:
    assert example([1], kind=len, count=np.int64(2), share=0.5, seed=0, sizes=np.array([1, 2]), path=Path("y")) == 1  # type: ignore[arg-type]
    assert example([1, 2], kind="median", share=None, sizes=range(1, 3)) == 2
    assert importlib.import_module("stats.options").__doc__
