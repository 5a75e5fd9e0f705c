"""Studies by other methods of edge attribution, and circuits that are selected by sign."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from intervention_study import batch_of, by_length, cells, lines, model_of, table, write_effective_study
from ruamel.yaml import YAML
from studies import ATTRIBUTION, HYPOTHESES, write_study

from mechshift_core import attribute_edges, load_spec, run
from mechshift_core.execution.plan import make_plan
from mechshift_core.graph import Shape
from mechshift_core.kinds import INTERVENTIONS
from mechshift_core.kinds.cost import Cost
from mechshift_core.pipeline import Run
from mechshift_core.spec.problems import SpecError

pytestmark = pytest.mark.long

DRAWN: dict[str, Any] = {"name": "circuit", "kind": "edge_attribution", "method": "expected-gradients", "draws": 2}
SIGNED: dict[str, Any] = {
    "name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [5, 30, 100], "random": 1,
    "sign_consistency": 0.95, "positive_share": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("drawn")
    return run(write_effective_study(folder, interventions=[DRAWN, SIGNED]), out=folder / "out")


def test_draws_and_their_variance_are_stored(drawn: Run) -> None:
    assert drawn.failures == ()
    ((_, tensors),) = cells(drawn.path, model="before", intervention="circuit")
    rows = lines(drawn.path.parent)
    for numbers in by_length(rows):
        found = attribute_edges(
            model_of(drawn.path.parent / "before"), batch_of([rows[number] for number in numbers]),
            method="expected-gradients", draws=2, seed=load_spec(drawn.path.parent / "study.yaml").seed,
        )  # fmt: skip
        np.testing.assert_allclose(tensors["scores"][numbers], found.values, atol=1e-5)
        assert found.draw_variance is not None and float(found.draw_variance.max()) > 0
        np.testing.assert_allclose(tensors["draw_variance"][numbers], found.draw_variance, atol=1e-5)


def test_circuits_hold_edges_of_a_sure_positive_sign_alone(drawn: Run) -> None:
    curve = table(drawn.path, "faithfulness")
    own = curve.filter((curve["circuit"] == "own") & (curve["percent"] == 30))
    asked = round(0.3 * table(drawn.path, "edge_scores")["edges"][0])
    assert own.height and (own["edges"] > 0).all() and (own["edges"] < asked).any()
    page = (drawn.path / "report.html").read_text()
    assert "2 draws for each prompt" in page and "Erion" in page
    assert "in 95 % of bootstrap samples" in page and "100 % of them by positive scores" in page


def test_the_seed_of_a_spec_is_in_the_key_of_random_points_alone(tmp_path: Path) -> None:
    keys: dict[tuple[str, int], set[str]] = {}
    for method in ("expected-gradients", "eap-ig"):
        path = write_study(
            tmp_path, interventions=[{**ATTRIBUTION, **({"method": method})} if method == "eap-ig" else DRAWN]
        )
        yaml = YAML()
        content = yaml.load(path.read_text())
        for seed in (0, 1):
            content["seed"] = seed
            with path.open("w") as handle:
                yaml.dump(content, handle)
            keys[method, seed] = {cell.key for cell in make_plan(load_spec(path)).cells}
    assert keys["eap-ig", 0] == keys["eap-ig", 1]
    assert not keys["expected-gradients", 0] & keys["expected-gradients", 1]


@pytest.mark.parametrize(
    ("options", "gradients", "methods"),
    [
        ({"method": "relp"}, 1, 1),
        ({"method": "expected-gradients", "draws": 4}, 4, 1),
        ({"method": "eap-ig-sources", "steps": 3}, 3 * 5, 1),  # the input, and heads and MLP of two layers
        ({"method": "rank-average", "methods": ("eap", "clean-corrupted", "eap-ig"), "steps": 3}, 1 + 2 + 3, 3),
    ],
)
def test_the_cost_of_a_method_is_its_passes(options: dict[str, Any], gradients: int, methods: int) -> None:
    kind = INTERVENTIONS["edge_attribution"]
    section = kind.section(name="circuit", kind="edge_attribution", **options)
    reads: Any = SimpleNamespace(inputs=7, shape=Shape(2, 4, 4, 4, 16))
    assert kind.cost(reads, section) == Cost(7 * (2 * methods + gradients), 7 * gradients)


ALIKE: dict[str, Any] = {
    "id": "alike",
    "measure": "overlap",
    "where": {"role": "treatment"},
    "test": {"kind": "bound", "bound": 0.1, "alternative": "greater"},
}


def write_sensitive(folder: Path, method: list[str], **attribution: Any) -> Path:
    path = write_study(folder, interventions=[{**ATTRIBUTION, **attribution}])
    yaml = YAML()
    content = yaml.load(path.read_text())
    content |= {"hypotheses": [ALIKE, HYPOTHESES[1]], "sensitivity": {"method": method} if method else {}}
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


def test_hypotheses_are_decided_on_the_edges_of_other_methods(tmp_path: Path) -> None:
    finished = run(write_sensitive(tmp_path, ["gim", "rank-average"], by_role=True), out=tmp_path / "out")
    assert finished.failures == ()
    found = {other.value: other.hypotheses[0] for other in finished.findings.alternatives}
    assert list(found) == ["gim", "rank-average"]
    assert "attribution method: gim" in (finished.path / "report.html").read_text()
    chosen: dict[str, dict[str, Any]] = {
        "gim": {"kind": "edge_attribution", "name": "circuit", "method": "gim"},
        "rank-average": {**ATTRIBUTION, "method": "rank-average", "methods": ["eap-ig", "gim"]},
    }
    for method, attribution in chosen.items():
        path = write_study(tmp_path, interventions=[attribution], hypotheses=[ALIKE])
        (expected,) = run(path, out=tmp_path / method).findings.hypotheses
        assert (found[method].estimate, found[method].low) == (expected.estimate, expected.low)
        assert found[method].estimate not in (None, finished.findings.hypotheses[0].estimate)
    slopes = {other.value: other.hypotheses[1] for other in finished.findings.alternatives}
    assert slopes["gim"].status == "ok" and slopes["rank-average"].status == "undefined"
    assert "edges are scored by ranks, which have no mass" in slopes["rank-average"].message


@pytest.mark.parametrize(
    ("method", "attribution", "message"),
    [
        (["eap-ig"], {}, "'eap-ig' is the study's own choice"),
        (["rank-average"], {}, "'rank-average' needs another method that takes gradients beside it"),
        (["rank-average", "exact"], {}, "'rank-average' needs another method"),
        (["gym"], {}, "got 'gym' .did you mean 'gim'"),
    ],
)
def test_methods_that_say_nothing_new_are_refused(
    tmp_path: Path, method: list[str], attribution: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_spec(write_sensitive(tmp_path, method, **attribution))


def test_edges_that_are_grown_have_no_positive_share(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="edges that are grown from the logits have no share that is positive"):
        load_spec(write_study(tmp_path, interventions=[ATTRIBUTION, {**SIGNED, "selection": "greedy"}]))
