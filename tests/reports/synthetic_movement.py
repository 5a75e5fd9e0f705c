"""Tables of how far models moved: the treatment moves in late layers, the control hardly at all."""

from __future__ import annotations

import polars as pl
from synthetic_run import GROUPS, HEADS, LAYERS, PAIRS, TASKS

ROLES = ("(read)", "subject", "other")
Row = dict[str, object]


def movement_tables() -> dict[str, pl.DataFrame]:
    """The four tables of the section; a layer without variance and a pair whose weights failed among them."""
    rows: dict[str, list[Row]] = {"residual_shift": [], "representation_similarity": [], "prediction_shift": []}
    for task, regime in TASKS:
        for pair, role, *_ in PAIRS:
            far = (0.4 if regime == "global" else 0.2) if role == "treatment" else 0.01
            base: Row = {"pair": pair, "role": role, "task": task, "regime": regime, "intervention": "moved", "n": 90}
            for token_role in ROLES:
                for layer in range(LAYERS + 1):
                    place = base | {"token_role": token_role, "layer": layer, "status": "ok"}
                    value = far * layer / LAYERS
                    rows["residual_shift"].append(
                        place | {"distance": value, "low": 0.9 * value, "high": 1.1 * value, "length_ratio": 1 + value}
                    )
                    rows["representation_similarity"].append(_similarity(place, value))
            rows["prediction_shift"].append(
                base
                | {"kl": 10 * far, "low": 9 * far, "high": 11 * far, "kl_reverse": 8 * far, "reverse_low": 7 * far}
                | {"reverse_high": 9 * far, "same_token": 1 - far, "status": "ok"}
            )
    return {name: pl.DataFrame(of_table) for name, of_table in rows.items()} | {"weight_shift": weights_table()}


def _similarity(place: Row, moved: float) -> Row:
    if place["layer"] == 0 and place["token_role"] == "(read)":
        reason = "the vectors of the model before and of the model after are the same for all inputs"
        return place | dict.fromkeys(("cka", "low", "high", "biased")) | {"status": reason}
    return place | {"cka": 1 - moved, "low": 0.95 - moved, "high": 1.0 - 0.9 * moved, "biased": 0.99}


def weights_table(*, failed: str = "") -> pl.DataFrame:
    rows: list[Row] = []
    for pair, role, *_ in PAIRS:
        base: Row = {"pair": pair, "role": role, "intervention": "weights", "status": "ok"}
        if pair == failed:
            empty = ("component", "kind", "layer", "head", "parameters", "norm_before", "norm_after", "difference")
            rows.append(base | dict.fromkeys((*empty, "relative")) | {"status": "failed: no luck"})
            continue
        rows += [base | _norms(name, kind, layer, head, role) for name, kind, layer, head in _components()]
    return pl.DataFrame(rows, infer_schema_length=None)


def _components() -> list[tuple[str, str, int | None, int | None]]:
    found: list[tuple[str, str, int | None, int | None]] = [("embedding", "embedding", None, None)]
    for layer in range(LAYERS):
        found += [(f"a{layer}.h{head}", kind, layer, head) for kind in "qo" for head in range(HEADS)]
        found += [(f"a{layer}.kv{head}", kind, layer, head) for kind in "kv" for head in range(GROUPS)]
        found += [(f"m{layer}", "mlp", layer, None), (f"n{layer}", "norm", layer, None)]
    return [*found, ("final norm", "norm", None, None), ("all", "all", None, None)]


def _norms(name: str, kind: str, layer: int | None, head: int | None, role: str) -> Row:
    relative = (0.02 if role == "control" else 0.1) * (1 + (layer or 0)) * (0 if kind == "norm" else 1)
    place: Row = {"component": name, "kind": kind, "layer": layer, "head": head, "parameters": 64}
    return place | {"norm_before": 3.0, "norm_after": 3.1, "difference": 3 * relative, "relative": relative}
