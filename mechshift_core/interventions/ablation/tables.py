"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, MODEL, PAIR, REAL, SIDES, TASK, TEXT, Column, Tables

TABLES: Tables = {
    "interactions": PAIR
    | MODEL
    | TASK
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
    | INTERVAL,
    "shapley": PAIR
    | MODEL
    | TASK
    | {
        "intervention": Column(TEXT, "name of the ablation in the spec"),
        "ablation": Column(TEXT, "what takes the place of a component's output: mean, zero, resample, counterfactual"),
        "order": Column(INTEGER, "number of components in the set"),
        "components": Column(TEXT, "the components of the set"),
        "value": Column(
            REAL,
            "of one component its Shapley value: metric lost with it, averaged over all orders in which the components "
            "could be lost; these sum to what losing all costs. Of several, their Shapley interaction index; mean over "
            "the selected examples",
        ),
    }
    | INTERVAL,
    "shapley_orders": PAIR
    | SIDES
    | TASK
    | {
        "intervention": Column(TEXT, "name of the ablation in the spec"),
        "ablation": Column(TEXT, "what takes the place of a component's output: mean, zero, resample, counterfactual"),
        "order": Column(INTEGER, "1 for additive effects, 2 for pairs, 3 for triples, ..."),
        "share": Column(
            REAL, "share of the variance of the mean metric over all combinations; before and after it sums to 1"
        ),
        "null": Column(REAL, "mean with the signs of this order's effects flipped over the examples"),
        "null_low": Column(REAL, "2.5 % quantile of the null"),
        "null_high": Column(REAL, "97.5 % quantile of the null"),
        "status": Column(TEXT, "ok, or why there is no share"),
    }
    | INTERVAL,
}
