"""What the two models of a pair have to do with each other, on the page: use of activations, the path of weights."""

from __future__ import annotations

import re
from dataclasses import replace

import polars as pl
import pytest
from report_markup import read
from stored_runs import estimate

from reports import ReportData, formats, render
from reports.figures.base import Figure, Panel, leading_pairs
from reports.page import first_of_each_role
from reports.sections import cross_patching, weight_path
from stats.findings import Findings

PAIRS = (("diffusion", "treatment"), ("control", "control"), ("apart", "unrelated"))
USES = {"diffusion": 0.4, "control": 0.95, "apart": 0.02}


def crossed_rows(*, shared: float = 1.0) -> pl.DataFrame:
    """Two layers of two heads, an MLP and streams; the head `a1.h1` restores nothing of its own."""
    rows = []
    components = [("a0.h0", "head", 0), ("a0.h1", "head", 0), ("a1.h0", "head", 1), ("a1.h1", "head", 1)]
    components += [("m0", "mlp", 0), ("m1", "mlp", 1), ("x0", "residual", 0), ("x2", "residual", 2)]
    components += [("heads", "pooled", None), ("counted", "pooled", None)]
    for pair, role in PAIRS:
        for side in ("before", "after"):
            for token_role in (None, "subject"):
                for name, kind, layer in components:
                    use = None if name == "a1.h1" else USES[pair]
                    rows.append(
                        {
                            **{"pair": pair, "role": role, "model": side, "side": side, "task": "ioi"},
                            **{"regime": "local", "budget": "per_token", "intervention": "crossed", "donor": "other"},
                            **{"component": name, "kind": kind, "layer": layer, "token_role": token_role},
                            "restored_own": None if kind == "pooled" else 0.0 if use is None else 2.0,
                            "restored_cross": None if kind == "pooled" else 2.0 * (use or 0),
                            "restored_floor": None if kind == "pooled" else 0.1,
                            "use": use,
                            "use_low": None if use is None else use - 0.1,
                            "use_high": None if use is None else use + 0.1,
                            **{"cost": 0.3, "cost_low": 0.2, "cost_high": 0.4},
                            "shared": shared if side == "after" else 1.0,
                            "n": 40,
                            "status": "what it restores is 0" if use is None else "ok",
                        }
                    )
    return pl.DataFrame(rows, infer_schema_length=None)


def path_rows() -> pl.DataFrame:
    """A barrier between the models that are read differently, none between those that are read alike."""
    rows = []
    for pair, role in PAIRS[:2]:
        for side in ("before", "after"):
            for point in (0.0, 0.5, 1.0):
                high = (2.0 if side == "after" else 0.5) if pair == "diffusion" else 0.0
                excess = high if point == 0.5 else 0.0
                rows.append(
                    {
                        **{"pair": pair, "role": role, "model": side, "side": side, "task": "ioi"},
                        **{"regime": "local", "budget": "per_token", "intervention": "path"},
                        **{"paradigm": "autoregressive", "point": point, "loss": 1 + excess, "metric": 2.0},
                        **{"accuracy": 0.9, "excess": excess, "excess_low": excess, "excess_high": excess},
                        **{"n": 40, "status": "ok", "low": 0.9 + excess, "high": 1.1 + excess},
                    }
                )
    return pl.DataFrame(rows)


def with_tables(run: ReportData, **frames: pl.DataFrame) -> ReportData:
    return replace(run, tables={**run.tables, **frames})


def test_use_is_drawn_for_both_directions_beside_control_and_unrelated(run: ReportData) -> None:
    made = cross_patching.section(with_tables(run, cross_patching=crossed_rows()))
    assert made is not None
    page = read(str(made.body))
    labels = [str(one.attributes["aria-label"]) for one in page.all("svg") if "aria-label" in one.attributes]
    for pair, _ in PAIRS:
        assert f"Use over components, ioi, {pair}: before {USES[pair]:.3f} and after {USES[pair]:.3f}." in labels
        assert any(label.startswith(f"Use into the model before, ioi, {pair}; largest") for label in labels)
        assert any(label.startswith(f"Use into the model after, MLP by token role, ioi, {pair}") for label in labels)
    assert "1 of 8" not in str(made.body) and "2 of 16 components restore nothing of their own" in str(made.body)


def test_positions_that_one_model_lacks_are_said(run: ReportData) -> None:
    made = cross_patching.section(with_tables(run, cross_patching=crossed_rows(shared=0.875)))
    assert made is not None
    said = re.findall(
        r"Into the model (\w+): at the (\S+)\s%? ?of the positions that the other reads too", str(made.body)
    )
    assert [(side, number) for side, number in said] == [("after", formats.percent(0.875).split()[0])] * 3


def test_a_path_is_drawn_once_where_both_readings_are_the_same(run: ReportData) -> None:
    rows = path_rows()
    assert list(weight_path.readings(rows.filter(pl.col("pair") == "control"))) == ["after"]
    assert list(weight_path.readings(rows.filter(pl.col("pair") == "diffusion"))) == ["before", "after"]
    made = weight_path.section(with_tables(run, weight_path=rows))
    assert made is not None
    labels = [str(one.attributes["aria-label"]) for one in read(str(made.body)).all("svg", class_="chart")]
    assert labels == [
        "Loss between the weights, ioi, diffusion: read as before, 1.000 to 1.000, 0.500 above the line at 0.500; "
        "read as after, 1.000 to 1.000, 2.000 above the line at 0.500.",
        "Loss between the weights, ioi, control: read as after, 1.000 to 1.000, 0 above the line at 0.",
    ]
    assert "Both models are read alike." in str(made.body)


def test_what_failed_is_said_and_nothing_is_drawn(run: ReportData) -> None:
    numbers = [name for name, kind in path_rows().schema.items() if kind == pl.Float64]
    lost = path_rows().with_columns(
        [pl.lit(None, pl.Float64).alias(name) for name in numbers], status=pl.lit("no luck")
    )
    made = weight_path.section(with_tables(run, weight_path=lost))
    assert made is not None and "before: no luck." in str(made.body)
    numbers = [name for name, kind in crossed_rows().schema.items() if kind == pl.Float64]
    none = crossed_rows().with_columns(
        [pl.lit(None, pl.Float64).alias(name) for name in numbers], status=pl.lit("no luck")
    )
    crossed = cross_patching.section(with_tables(run, cross_patching=none))
    assert crossed is not None and "after: no luck." in str(crossed.body)


@pytest.mark.long
def test_the_page_has_both_sections(run: ReportData) -> None:
    page = render(with_tables(run, cross_patching=crossed_rows(), weight_path=path_rows()))
    assert 'id="cross-patching"' in page and 'id="weight-path"' in page


def test_of_many_pairs_figures_show_the_first_of_each_role_and_fold_the_others() -> None:
    def figure(pairs: int) -> Figure:
        panels = [Panel(title=task, subtitle=f"p{n}, more", drawings=()) for task in "ab" for n in range(pairs)]
        return Figure(id="f", caption="c", panels=tuple(panels), columns=pairs, legend=(), tables=())

    with leading_pairs({"p0", "p7"}):
        assert figure(12).folded == () and len(figure(12).open) == 24
        many = figure(13)
        assert [(one.title, one.subtitle) for one in many.open] == [
            ("a", "p0, more"), ("a", "p7, more"), ("b", "p0, more"), ("b", "p7, more"),
        ]  # fmt: skip
        assert len(many.folded) == 22
    with leading_pairs({"nobody"}):
        assert figure(13).folded == (), "something has to be seen"
    estimates = [
        replace(estimate(), pair=pair, role=role)
        for pair, role in (("one", "treatment"), ("two", "treatment"), ("three", "control"))
    ]
    data = ReportData(
        title="t", name="n", version="1", findings=Findings(name="n", hypotheses=(), estimates=tuple(estimates))
    )
    assert first_of_each_role(data) == {"one", "three"}
