"""The tables of a run: those that belong to no kind, and with those of all kinds the schema of every one.

Tables are tidy Parquet files under `tables/` of the run directory. `pair` appears wherever a number depends on which
examples were selected, since examples are selected per pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from mechshift_core.kinds.tables import (
    BUDGET,
    INTEGER,
    INTERVAL,
    MODEL,
    PAIR,
    REAL,
    TASK,
    TEXT,
    TRUTH,
    Column,
    Columns,
    Tables,
)
from mechshift_core.run_tables import RunTables
from mechshift_core.trajectory_tables import TRAJECTORY_TABLES

SHARED: Tables = {
    "examples": PAIR
    | MODEL
    | TASK
    | {
        "template": Column(TEXT, "sentence frame of the prompt"),
        "example": Column(INTEGER, "index of the example within the task, the same for every model"),
        "clean": Column(TEXT, "clean prompt, masked positions as the mask token"),
        "corrupt": Column(TEXT, "corrupted prompt"),
        "answer": Column(TEXT, "answer tokens, joined by spaces"),
        "foil": Column(TEXT, "foil tokens, joined by spaces"),
        "masks": Column(INTEGER, "number of masked positions where the example is read first"),
        "states": Column(
            INTEGER,
            "number of states of the completion over which metrics and scores are averaged; 0 where the budget has "
            "none of it",
        ),
        "clean_metric": Column(REAL, "metric on the clean prompt"),
        "corrupt_metric": Column(REAL, "metric on the corrupted prompt"),
        "correct": Column(TRUTH, "whether the model answers the clean prompt correctly, by the rule of the task"),
        "correct_by_metric": Column(
            TRUTH,
            "whether the metric on the clean prompt is above 0 (rule `metric`); null of a metric whose 0 does not mean "
            "that neither answers nor foils are preferred",
        ),
        "correct_by_argmax": Column(TRUTH, "whether the most likely token is an answer (rule `argmax`)"),
        "selected": Column(TRUTH, "whether the example entered the analysis of this pair"),
    },
    "components": PAIR
    | MODEL
    | TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "method": Column(TEXT, "attribution, activation patching, or an ablation, e.g. mean ablation"),
        "component": Column(TEXT, "head a{l}.h{h}, MLP m{l}, or residual stream x{l} (x{L} is read by the final norm)"),
        "kind": Column(TEXT, "head, mlp or residual"),
        "layer": Column(INTEGER, "layer of the component"),
        "token_role": Column(TEXT, "positions that were patched; null where all were"),
        "effect": Column(
            REAL,
            "clean metric minus the metric with the component replaced, mean over the selected examples (attribution: "
            "its estimate, the sum of the scores of the outgoing edges; by role: over the examples that have the role)",
        ),
    }
    | INTERVAL,
    "indices": PAIR
    | TASK
    | {
        "measure": Column(TEXT, "the measure that it is an index of: specialization, integration or alignment"),
        "index": Column(
            TEXT,
            "name of the index; specialization, of component effects: renyi_entropy, which is tested, gini, "
            "participation_ratio, hoyer, entropy, largest_share, all higher where fewer components do the work; "
            "integration: interaction_share and shapley_share, which are tested, interaction and shapley (ratios), "
            "and participation, modularity (higher: less integrated) and efficiency of the graph of components; "
            "alignment: alignment (nats)",
        ),
        "side": Column(TEXT, "before, after or shift"),
        "value": Column(REAL, "the index; null where effects of different prompts agree no more than by chance"),
        "null": Column(REAL, "mean under sign flips (graphs: of random graphs; alignment: with its weights permuted)"),
        "null_low": Column(REAL, "2.5 % quantile of the null"),
        "null_high": Column(REAL, "97.5 % quantile of the null"),
        "excess": Column(REAL, "value minus null"),
        "crossfitted": Column(
            REAL, "specialization cross-fitted over halves of the prompts; null where they agree no more than by chance"
        ),
    }
    | INTERVAL,
    "mixed_models": BUDGET
    | {
        "scale": Column(TEXT, "share: difference of the layers' shares; log-ratio: of their centred log-ratios"),
        "formula": Column(TEXT, "fixed effects"),
        "part": Column(TEXT, "fixed (an effect) or variance (of a random effect, or the residual)"),
        "group": Column(TEXT, "grouping of the random effect; null for fixed effects"),
        "term": Column(TEXT, "the effect, e.g. depth:regime[T.local]"),
        "estimate": Column(REAL, "the effect or the variance"),
        "se": Column(REAL, "standard error; null, as the columns of the test, where `message` says why there is none"),
        "df": Column(REAL, "Satterthwaite degrees of freedom"),
        "statistic": Column(REAL, "estimate / standard error"),
        "p": Column(REAL, "two-sided p-value, not corrected"),
        "n": Column(INTEGER, "number of independent rows: prompts x (layers - 1) over all pairs"),
        "status": Column(TEXT, "ok, singular (a variance is zero) or failed"),
        "message": Column(TEXT, "what the status says in words, which effects have no test and why"),
    }
    | INTERVAL,
    "marginal_contrasts": BUDGET
    | {
        "scale": Column(TEXT, "share or log-ratio, as in `mixed_models`"),
        "kind": Column(TEXT, "slope (of the shift over depth), difference (of slopes) or difference in differences"),
        "role": Column(TEXT, "level of role, or treatment - control; null where the slope does not depend on it"),
        "regime": Column(TEXT, "level of regime, or global - local; null where the slope does not depend on it"),
        "over": Column(TEXT, "what the error is over: prompts (or random templates), and from five on seeds"),
        "seed": Column(TEXT, "the seed that the row is of; null for the mean over all"),
        "seeds": Column(INTEGER, "number of seeds, in the role that has the fewest"),
        "estimate": Column(REAL, "the slope or the difference; pairs and tasks of a group have equal weights"),
        "se": Column(REAL, "standard error, from the slopes of every prompt on every pair"),
        "df": Column(REAL, "degrees of freedom"),
        "statistic": Column(REAL, "t, over prompts corrected for skewness"),
        "p": Column(REAL, "two-sided p-value, not corrected"),
        "p_corrected": Column(
            REAL, "Holm-corrected over the scale's rows that are over all seeds; no part of the hypotheses"
        ),
        "status": Column(TEXT, "ok, or points only"),
        "message": Column(TEXT, "what to keep in mind: for which seeds it is, where the scales disagree in sign"),
    }
    | INTERVAL,
    "findings": BUDGET
    | {
        "id": Column(TEXT, "hypothesis"),
        "measure": Column(TEXT, "measure tested"),
        "test": Column(TEXT, "difference, equivalence, non_inferiority or bound"),
        "estimate": Column(REAL, "point estimate"),
        "se": Column(REAL, "standard error"),
        "df": Column(REAL, "degrees of freedom"),
        "p": Column(REAL, "p-value"),
        "p_corrected": Column(REAL, "p-value, corrected within the family"),
        "margin": Column(REAL, "margin of an equivalence or non-inferiority test"),
        "verdict": Column(TEXT, "supported, refuted, inconclusive or not estimable"),
        "status": Column(TEXT, "whether the numbers can be used"),
    }
    | INTERVAL,
    **TRAJECTORY_TABLES,
}
"""What no kind owns: examples, what several kinds have rows of, and what the statistics come to."""


if TYPE_CHECKING:
    TABLES: Mapping[str, Columns]
    """The schema of every table."""


def __getattr__(name: str) -> object:
    if name == "TABLES":
        return tables()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def tables() -> dict[str, Columns]:
    """The schema of every table: table -> column -> type and meaning."""
    from mechshift_core.kinds import INTERVENTIONS, MEASURES

    found: dict[str, Columns] = dict(SHARED)
    for intervention in INTERVENTIONS.values():
        found |= intervention.tables
    for measure in MEASURES.values():
        found |= measure.tables
    return found


def frame(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows as the table's frame: every declared column, in order, of the declared type."""
    schema = {name: column.type for name, column in tables()[table].items()}
    return pl.DataFrame(rows, schema=schema, orient="row", strict=True)


def write_tables(tables: dict[str, pl.DataFrame], folder: Path) -> None:
    """Write each table as `<name>.parquet`, each file whole or not at all."""
    from mechshift_core.files import replace_file

    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        content = BytesIO()
        table.write_parquet(content)
        with replace_file(folder / f"{name}.parquet") as temporary:
            temporary.write_bytes(content.getvalue())


def read_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """All tables of a run by name.

    Raises:
        ExecutionError: if one of them can't be read.
    """
    return dict(RunTables(folder))
