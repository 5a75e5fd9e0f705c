"""The figures of the page on statistics, from numbers that are computed here, stored in `benchmarks/`, or of a run:

    mechshift run specs/quickstart.yaml
    python docs/draw_figures.py runs/quickstart

The simulated numbers go into `figures/simulated.json` as well, which a test computes again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import vl_convert
from scipy import special

from stats.skewness import corrected

HERE = Path(__file__).parent
FIGURES = HERE / "figures"
SIMULATED = FIGURES / "simulated.json"
COVERAGE = HERE.parent / "benchmarks" / "results" / "coverage.txt"
METHODS = ("percentile", "bca", "studentized", "t", "hypothesis")
DATA_SETS = 20_000
PROMPTS = 12
NOMINAL = 0.05

Rows = list[dict[str, Any]]


def unit_rates() -> Rows:
    """Rejections of a true null at nominal 5 %, 12 prompts of r rows each, by what is taken as the unit.

    A row is the effect of its prompt plus noise of its own, both standard normal.
    """
    found: Rows = []
    for rows in (1, 2, 4, 8, 16):
        rng = np.random.default_rng([1, rows])
        prompts = rng.standard_normal((DATA_SETS, PROMPTS, 1))
        values = prompts + rng.standard_normal((DATA_SETS, PROMPTS, rows))
        for unit, data in (("rows", values.reshape(DATA_SETS, -1)), ("prompts", values.mean(axis=2))):
            t = data.mean(axis=1) / (data.std(axis=1, ddof=1) / np.sqrt(data.shape[1]))
            p = 2 * special.stdtr(data.shape[1] - 1, -np.abs(t))
            found.append({"rows per prompt": rows, "unit": unit, "rejected": float((p < NOMINAL).mean())})
    return found


def skewness_rates() -> Rows:
    """Rejections of a true null by the upper and the lower 5 % point, for exponential values, without and with Hall."""
    found: Rows = []
    for n in (8, 12, 20, 40, 80):
        rng = np.random.default_rng([2, n])
        values = rng.exponential(size=(DATA_SETS, n)) - 1
        centred = values - values.mean(axis=1, keepdims=True)
        spread = values.std(axis=1, ddof=1)
        t = values.mean(axis=1) / (spread / np.sqrt(n))
        skewness: Any = (centred**3).mean(axis=1) / (centred**2).mean(axis=1) ** 1.5 / np.sqrt(n)
        for statistic, value in (("t", t), ("corrected", corrected(t, skewness))):
            for side, tail in (("too low", value), ("too high", -value)):
                rate = float((special.stdtr(n - 1, tail) < NOMINAL).mean())
                found.append({"prompts": n, "statistic": statistic, "side": side, "rejected": rate})
    return found


def simulated() -> dict[str, Rows]:
    """All that is simulated here."""
    return {"unit": unit_rates(), "skewness": skewness_rates()}


def coverages() -> Rows:
    """The stored coverage of nominal 95 % intervals, one value for each cluster."""
    found: Rows = []
    for line in COVERAGE.read_text(encoding="utf-8").splitlines():
        parts = line.split()
        if len(parts) == 8 and parts[1] == "one":
            for method, rate in zip(METHODS, parts[3:], strict=True):
                found.append(
                    {"prompts": f"{parts[0]} prompts", "effects": parts[2], "method": method, "coverage": float(rate)}
                )
    return found


def retention(run: Path) -> Rows:
    """Overlap between models, its chance level and its ceiling, by K."""
    table = pl.read_parquet(run / "tables" / "overlap.parquet").filter(pl.col("measure") == "jaccard")
    found: Rows = []
    for row in table.iter_rows(named=True):
        for level, column in (("ceiling", "ceiling"), ("between the models", "between"), ("chance", "null")):
            shown = f"{row['pair']}, {row['task']}"
            found.append({"K": row["k"], "pair and task": shown, "level": level, "Jaccard": row[column]})
    return found


def charts(run: Path, numbers: dict[str, Rows]) -> dict[str, Any]:
    """File name -> chart."""
    line = alt.Chart().mark_line(point=True)
    nominal = alt.Chart().mark_rule(strokeDash=[4, 4])
    coverage = alt.Chart(_data(coverages())).properties(width=260, height=200)
    points = coverage.mark_point(filled=True, size=80).encode(
        x=alt.X("coverage:Q", scale=alt.Scale(domain=[0.8, 1.0])),
        y=alt.Y("method:N", sort=list(METHODS), title=None),
        color=alt.Color("effects:N"),
        shape="effects:N",
    )
    faceted = alt.layer(points, coverage.mark_rule(strokeDash=[4, 4]).encode(x=alt.datum(0.95)))
    rates = line.properties(data=_data(numbers["unit"]), width=420, height=220).encode(
        x=alt.X("rows per prompt:O", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("rejected:Q", axis=alt.Axis(format="%"), title="true nulls rejected"),
        color=alt.Color("unit:N", title="unit"),
    )
    skewness = line.properties(data=_data(numbers["skewness"]), width=420, height=220).encode(
        x=alt.X("prompts:Q", scale=alt.Scale(type="log", domain=[7, 90]), axis=alt.Axis(values=[8, 12, 20, 40, 80])),
        y=alt.Y("rejected:Q", axis=alt.Axis(format="%"), title="true nulls rejected, one-sided"),
        color="statistic:N",
        strokeDash=alt.StrokeDash("side:N", title="mean claimed to be"),
    )
    kept = alt.Chart(_data(retention(run))).mark_line(point=True).properties(width=200, height=150)
    kept = kept.encode(
        x=alt.X("K:Q", scale=alt.Scale(type="log", domain=[16, 200]), axis=alt.Axis(values=[20, 40, 80, 160])),
        y=alt.Y("Jaccard:Q", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("level:N", sort=["ceiling", "between the models", "chance"], title=None),
    )
    at = nominal.encode(y=alt.datum(NOMINAL))
    return {
        "coverage": faceted.facet(column=alt.Column("prompts:N", title=None)),
        "units": alt.layer(rates, at),
        "skewness": alt.layer(skewness, at),
        "retention": kept.facet(facet=alt.Facet("pair and task:N", title=None), columns=2),
    }


def _data(rows: Rows) -> Any:
    return alt.Data(values=rows)


def main(run: Path) -> None:
    """Draw everything."""
    FIGURES.mkdir(exist_ok=True)
    numbers = simulated()
    SIMULATED.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    for name, chart in charts(run, numbers).items():
        svg = vl_convert.vegalite_to_svg(chart.configure(background="white").to_json())
        (FIGURES / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
