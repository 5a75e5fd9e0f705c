"""The tables of an exported file: one row per thing, linked by keys, every column with its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

INTEGER, REAL, TEXT = "INTEGER", "REAL", "TEXT"


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its type in SQLite, what it means, and the table whose `id` it holds."""

    type: str
    meaning: str
    of: str = ""


KEY = {"id": Field("INTEGER PRIMARY KEY", "number of the row")}
RUN = {"run": Field(INTEGER, "the run", "runs")}
NUMBERS = {
    "estimate": Field(REAL, "point estimate; null where the status says why"),
    "low": Field(REAL, "lower end of the interval"),
    "high": Field(REAL, "upper end of the interval"),
    "confidence": Field(REAL, "level of the interval"),
    "method": Field(TEXT, "how interval and test were made"),
    "status": Field(TEXT, "whether the numbers can be used"),
    "message": Field(TEXT, "why not, or what to keep in mind"),
    "prompts": Field(INTEGER, "number of prompts that it rests on"),
}
CHOICE = {"choice": Field(TEXT, "other choice than the study's first one, e.g. `denoising all_masked`; else empty")}
PLACE = {
    "pair": Field(TEXT, "name of the pair in the spec"),
    "role": Field(TEXT, "role of the pair: treatment, control or unrelated"),
    "seed": Field(INTEGER, "training seed of the pair, where it has one"),
    "task": Field(TEXT, "name of the task in the spec"),
    "regime": Field(TEXT, "local or global"),
}
OWN: Mapping[str, Mapping[str, Field]] = {
    "runs": KEY
    | {
        "name": Field(TEXT, "name of the run directory"),
        "study": Field(TEXT, "name of the study"),
        "mechshift": Field(TEXT, "version of mechshift"),
        "spec": Field(TEXT, "the spec, as it was run"),
        "spec_sha256": Field(TEXT, "SHA-256 of the spec"),
        "seed": Field(INTEGER, "seed of the study"),
        "partial": Field(INTEGER, "1 if something failed, else 0"),
        "failures": Field(TEXT, "what failed, one line each"),
    },
    "hypotheses": KEY
    | RUN
    | CHOICE
    | {
        "name": Field(TEXT, "id of the hypothesis in the spec"),
        "claim": Field(TEXT, "its claim in words"),
        "measure": Field(TEXT, "the measure that is tested"),
        "estimand": Field(TEXT, "what the estimate estimates, in one sentence"),
        "test": Field(TEXT, "difference, equivalence, non_inferiority or bound"),
        "alternative": Field(TEXT, "two-sided, less, greater, equivalent or not inferior"),
        "margin": Field(REAL, "margin of the test, in the measure's units"),
        "null": Field(REAL, "value that the estimate is tested against"),
        "verdict": Field(TEXT, "supported, refuted, inconclusive or not estimable"),
        "se": Field(REAL, "standard error"),
        "statistic": Field(REAL, "statistic of the test"),
        "df": Field(REAL, "its degrees of freedom"),
        "p": Field(REAL, "p-value"),
        "p_corrected": Field(REAL, "p-value after the correction within the family"),
        "correction": Field(TEXT, "which correction"),
        "family_size": Field(INTEGER, "hypotheses in the family"),
    }
    | NUMBERS,
    "terms": KEY
    | {"hypothesis": Field(INTEGER, "the hypothesis whose estimate is the weighted sum of these", "hypotheses")}
    | PLACE
    | {
        "weight": Field(REAL, "weight in the sum"),
        "estimate": Field(REAL, "the measure on this pair and task"),
        "n": Field(INTEGER, "number of prompts"),
    },
    "parts": KEY
    | {
        "hypothesis": Field(INTEGER, "the hypothesis, of which this is the part on one task or regime", "hypotheses"),
        "key": Field(TEXT, "task or regime"),
        "level": Field(TEXT, "which"),
        "estimate": Field(REAL, "the estimate there"),
        "low": Field(REAL, "lower end of the interval"),
        "high": Field(REAL, "upper end of the interval"),
        "p": Field(REAL, "p-value there, not corrected"),
    },
    "estimates": KEY
    | RUN
    | CHOICE
    | PLACE
    | {
        "measure": Field(TEXT, "the measure"),
        "side": Field(TEXT, "before, after, shift (after minus before) or between (of the pair)"),
    }
    | NUMBERS,
    "reference_values": KEY
    | {
        "of_estimate": Field(INTEGER, "the estimate that is read against it", "estimates"),
        "name": Field(TEXT, "what it is, e.g. null or ceiling"),
        "value": Field(REAL, "its value"),
    },
    "columns": KEY
    | {
        "of_table": Field(TEXT, "name of a table in this file"),
        "name": Field(TEXT, "name of one of its columns"),
        "meaning": Field(TEXT, "what it holds"),
    },
}
"""Tables that every exported file has -> their columns; beside them are the tables of the runs."""


def statement(table: str, columns: Mapping[str, Field]) -> str:
    """The SQL that makes a table."""
    parts = [f"{quoted(name)} {one.type}" for name, one in columns.items()]
    parts += [
        f"FOREIGN KEY ({quoted(name)}) REFERENCES {quoted(one.of)} (id)" for name, one in columns.items() if one.of
    ]
    return f"CREATE TABLE {quoted(table)} ({', '.join(parts)})"


def quoted(name: str) -> str:
    """A name in SQL, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'
