"""The schema of every table of a run, once: column, type, meaning.

Tables are tidy Parquet files under `tables/` of the run directory. `pair` appears wherever a number depends on which
examples were selected, since examples are selected per pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl

TEXT, INTEGER, REAL, TRUTH = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its type and what it means."""

    type: pl.DataType
    meaning: str


_PAIR = {
    "pair": Column(TEXT, "name of the pair in the spec"),
    "role": Column(TEXT, "role of the pair: treatment or control"),
}
_BUDGET = {"budget": Column(TEXT, "inference budget: per_token, all_masked or a number of denoising steps")}
_TASK = {
    "task": Column(TEXT, "name of the task in the spec"),
    "regime": Column(TEXT, "local or global"),
} | _BUDGET
_MODEL = {
    "model": Column(TEXT, "name of the model in the spec"),
    "side": Column(TEXT, "before or after: which model of the pair"),
}
_INTERVAL = {
    "low": Column(REAL, "lower end of the interval"),
    "high": Column(REAL, "upper end of the interval"),
}

TABLES: dict[str, dict[str, Column]] = {
    "examples": _PAIR
    | _MODEL
    | _TASK
    | {
        "template": Column(TEXT, "sentence frame of the prompt"),
        "example": Column(INTEGER, "index of the example within the task, the same for every model"),
        "clean": Column(TEXT, "clean prompt, masked positions as the mask token"),
        "corrupt": Column(TEXT, "corrupted prompt"),
        "answer": Column(TEXT, "answer tokens, joined by spaces"),
        "foil": Column(TEXT, "foil tokens, joined by spaces"),
        "masks": Column(INTEGER, "number of masked positions where the example is read first"),
        "states": Column(INTEGER, "number of states of the completion over which metrics and scores are averaged"),
        "clean_metric": Column(REAL, "metric on the clean prompt"),
        "corrupt_metric": Column(REAL, "metric on the corrupted prompt"),
        "correct": Column(TRUTH, "whether the model answers the clean prompt correctly"),
        "selected": Column(TRUTH, "whether the example entered the analysis of this pair"),
    },
    "edges": _PAIR
    | _MODEL
    | _TASK
    | {
        "source": Column(TEXT, "node that writes: input, a{l}.h{h}, m{l}"),
        "target": Column(TEXT, "node that reads: a{l}.h{h}<q>, a{l}.kv{j}<k>, a{l}.kv{j}<v>, m{l}, logits"),
        "kind": Column(TEXT, "source kind and receiver kind, e.g. head->q"),
        "source_layer": Column(INTEGER, "layer of the source; -1 for the input"),
        "target_layer": Column(INTEGER, "layer of the receiver; the number of layers for the logits"),
        "score": Column(REAL, "attribution score, mean over the selected examples"),
        "rank": Column(INTEGER, "rank by magnitude, 1 is the largest"),
    },
    "edge_scores": {"model": _MODEL["model"]}
    | _TASK
    | {
        "cell": Column(TEXT, "cell that holds the scores"),
        "path": Column(TEXT, "safetensors file, relative to the run directory; tensor `scores`, [examples, edges]"),
        "examples": Column(INTEGER, "number of examples"),
        "edges": Column(INTEGER, "number of edges"),
    },
    "edge_roles": _PAIR
    | _MODEL
    | _TASK
    | {
        "token_role": Column(TEXT, "role of the positions, e.g. s1, end, mask"),
        "source": Column(TEXT, "node that writes"),
        "target": Column(TEXT, "node that reads"),
        "score": Column(
            REAL,
            "part of the edge's score from these positions, mean over the selected examples; only the 1,000 edges "
            "with the largest sum of magnitudes over roles",
        ),
    },
    "components": _PAIR
    | _MODEL
    | _TASK
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
    | _INTERVAL,
    "faithfulness": _PAIR
    | _MODEL
    | _TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "ablation": Column(TEXT, "what edges outside of the circuit carry: counterfactual, mean, zero or resample"),
        "circuit": Column(TEXT, "own, partner (ranked on the other model's scores) or random (like own, all draws)"),
        "percent": Column(REAL, "size of the circuit in percent of the edges, as in the spec"),
        "edges": Column(INTEGER, "size of the circuit"),
        "live_edges": Column(INTEGER, "edges on a path from the input to the logits, mean over folds (and draws)"),
        "metric": Column(REAL, "metric with only the circuit intact, mean over examples (and draws)"),
        "faithfulness": Column(
            REAL, "(metric - empty) / (full - empty); random: mean over draws; null where undefined"
        ),
        "low": Column(REAL, "lower end of the interval; random: smallest of the draws"),
        "high": Column(REAL, "upper end of the interval; random: largest of the draws"),
        "n": Column(INTEGER, "number of examples"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    },
    "layers": _PAIR
    | _TASK
    | {
        "side": Column(TEXT, "before, after, or shift (after minus before, paired)"),
        "layer": Column(INTEGER, "layer of the edges' sources"),
        "depth": Column(REAL, "layer scaled to [-1/2, 1/2]"),
        "share": Column(REAL, "share of the attribution mass, mean over examples (shift: difference of shares)"),
        "n": Column(INTEGER, "number of examples"),
    }
    | _INTERVAL,
    "overlap": _PAIR
    | _TASK
    | {
        "k": Column(INTEGER, "size of the top-K edge sets"),
        "between": Column(REAL, "Jaccard between the models, at half of the prompts each, mean over splits"),
        "full": Column(REAL, "Jaccard between the models, scores averaged over all prompts"),
        "null": Column(REAL, "mean Jaccard after permuting edges within strata"),
        "null_low": Column(REAL, "2.5 % quantile of the permutation null"),
        "null_high": Column(REAL, "97.5 % quantile of the permutation null"),
        "null_p": Column(REAL, "permutation p of the full-data overlap"),
        "ceiling_before": Column(REAL, "split-half Jaccard within the model before"),
        "ceiling_after": Column(REAL, "split-half Jaccard within the model after"),
        "ceiling": Column(REAL, "geometric mean of the two ceilings"),
        "retention": Column(REAL, "retention index (between - null) / (ceiling - null); null where undefined"),
        "status": Column(TEXT, "ok, or why the retention index is not defined"),
    }
    | _INTERVAL,
    "targeted": _PAIR
    | {
        "model": Column(TEXT, "name of the model in the spec; null for a shift"),
        "side": Column(TEXT, "before, after, or shift (after minus before, paired)"),
    }
    | _TASK
    | {
        "intervention": Column(TEXT, "name of the targeted ablation in the spec"),
        "ablation": Column(TEXT, "what takes the place of a component's output: mean, zero, resample, counterfactual"),
        "layers": Column(
            TEXT, "where the group is from: early, middle or late layers, or random (anywhere, all draws)"
        ),
        "target": Column(TRUTH, "whether this is the group that the spec aims at"),
        "size": Column(INTEGER, "number of components in the group"),
        "components": Column(TEXT, "its components, joined by spaces: those that were knocked out in any fold"),
        "effect": Column(
            REAL,
            "clean metric minus the metric without the group, mean over the selected examples (random: and over draws)",
        ),
        "beyond": Column(REAL, "effect of the group aimed at minus that of this one, paired; null for itself"),
        "beyond_low": Column(REAL, "lower end of its interval"),
        "beyond_high": Column(REAL, "upper end of its interval"),
        "p": Column(
            REAL,
            "random: (1 + draws whose effect is at least that of the group aimed at) / (1 + draws); null elsewhere",
        ),
        "n": Column(INTEGER, "number of examples"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    }
    | _INTERVAL,
    "probes": _PAIR
    | {
        "model": Column(TEXT, "name of the model in the spec; null for a shift"),
        "side": Column(TEXT, "before, after, or shift (after minus before, paired)"),
    }
    | _TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "variable": Column(TEXT, "what is read off: answer, template, or a token role (its first token)"),
        "layer": Column(INTEGER, "block that reads the residual stream; the number of layers for the final norm"),
        "accuracy": Column(
            REAL, "share of the examples whose value the probe of the other folds says (shift: difference of shares)"
        ),
        "control": Column(REAL, "the same with labels shuffled over the examples, mean over the shuffles"),
        "majority": Column(REAL, "share of the most frequent value"),
        "classes": Column(INTEGER, "number of values"),
        "n": Column(INTEGER, "number of examples with a value that is frequent enough"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    }
    | _INTERVAL,
    "attention": _PAIR
    | {
        "model": Column(TEXT, "name of the model in the spec; null for a shift"),
        "side": Column(TEXT, "before, after, or shift (after minus before, paired)"),
    }
    | _TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "layer": Column(INTEGER, "layer of the head"),
        "head": Column(INTEGER, "number of the head; null for the mean over the layer's heads"),
        "from_role": Column(TEXT, "role of the tokens that look, or (read): the position read"),
        "to_role": Column(
            TEXT, "role of the tokens looked at, or where they stand: (left), (self) or (right) of the one that looks"
        ),
        "mass": Column(
            REAL,
            "attention to all of these tokens together, mean over the tokens that look and over the examples that have "
            "such; it sums to 1 over the roles, and over the three directions",
        ),
        "uniform": Column(REAL, "the same of attention that is spread evenly over all visible tokens"),
        "n": Column(INTEGER, "number of examples"),
        "p_corrected": Column(
            REAL,
            "of a head's shift from (read): two-sided p-value, Benjamini-Hochberg over all heads and to_roles of the "
            "pair and task; null elsewhere and where the change has no spread",
        ),
    }
    | _INTERVAL,
    "interactions": _PAIR
    | _MODEL
    | _TASK
    | {
        "intervention": Column(TEXT, "name of the ablation in the spec"),
        "ablation": Column(TEXT, "what takes the place of a component's output: mean, zero, resample, counterfactual"),
        "first": Column(TEXT, "a component"),
        "second": Column(TEXT, "another one, later in the model"),
        "interaction": Column(
            REAL,
            "metric without both, minus that without each, plus the clean one; mean over the selected examples: zero "
            "where effects add up, positive where losing both costs less (links of a chain), negative where it costs "
            "more (one stands in for the other)",
        ),
    }
    | _INTERVAL,
    "indices": _PAIR
    | _TASK
    | {
        "index": Column(TEXT, "name of the index: gini (of component effects) or interaction (ratio)"),
        "side": Column(TEXT, "before, after or shift"),
        "value": Column(REAL, "the index"),
        "null": Column(REAL, "mean under sign flips of the examples"),
        "excess": Column(REAL, "value minus null"),
    }
    | _INTERVAL,
    "mixed_models": _BUDGET
    | {
        "scale": Column(TEXT, "share: difference of the layers' shares; log-ratio: of their centred log-ratios"),
        "formula": Column(TEXT, "fixed effects"),
        "part": Column(TEXT, "fixed (an effect) or variance (of a random effect, or the residual)"),
        "group": Column(TEXT, "grouping of the random effect; null for fixed effects"),
        "term": Column(TEXT, "the effect, e.g. depth:regime[T.local]"),
        "estimate": Column(REAL, "the effect or the variance"),
        "se": Column(REAL, "standard error"),
        "df": Column(REAL, "Satterthwaite degrees of freedom"),
        "statistic": Column(REAL, "estimate / standard error"),
        "p": Column(REAL, "two-sided p-value, not corrected"),
        "n": Column(INTEGER, "number of rows: prompts x layers over all pairs"),
        "status": Column(TEXT, "ok, singular (a variance is zero; tests are valid) or failed"),
        "message": Column(TEXT, "what the status says in words"),
    }
    | _INTERVAL,
    "findings": _BUDGET
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
    | _INTERVAL,
}


def frame(table: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows as the table's frame: every declared column, in order, of the declared type."""
    schema = {name: column.type for name, column in TABLES[table].items()}
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
    """All tables of a run by name."""
    return {path.stem: pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}
