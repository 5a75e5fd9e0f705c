"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, MODEL, PAIR, REAL, TASK, TEXT, TRUTH, Column, Tables

RETENTION = {
    "retention": Column(
        REAL,
        "(between - chance) / (ceiling - chance), all on halves: 0 is chance within strata, 1 as similar to the "
        "other model as to itself; null where undefined",
    ),
    "status": Column(TEXT, "ok, or why `retention` or its interval is missing"),
    "low": Column(REAL, "lower end of the interval of `retention`"),
    "high": Column(REAL, "upper end of the interval of `retention`"),
}

TABLES: Tables = {
    "similarity": PAIR
    | TASK
    | {
        "similarity": Column(
            REAL,
            "cosine of the two models' mean scores of all edges, corrected for the noise of both: 1 is the same "
            "circuit but for a factor, 0 nothing in common; the estimate can lie above 1 by chance",
        ),
        "se": Column(REAL, "its standard error over prompts (or templates)"),
        "df": Column(REAL, "degrees of freedom of the standard error"),
        "plain": Column(REAL, "cosine of the averages over all prompts, noise included"),
        "reliability_before": Column(REAL, "share of the squared length of the average before that is no noise"),
        "reliability_after": Column(REAL, "the same of the model after"),
        "noise_ratio": Column(REAL, "noise of a prompt's scores relative to their mean, after over before (SD)"),
        "unrelated": Column(REAL, "mean similarity of the unrelated pairs on the task; null where there are none"),
        "inherited": Column(
            REAL, "(similarity - unrelated) / (1 - unrelated); null of unrelated pairs and where undefined"
        ),
        "inherited_low": Column(REAL, "lower end of the interval of `inherited`"),
        "inherited_high": Column(REAL, "upper end of the interval of `inherited`"),
        "n": Column(INTEGER, "number of examples"),
        "units": Column(INTEGER, "number of random units: of examples, or of their templates"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    }
    | INTERVAL,
    "overlap": PAIR
    | TASK
    | {
        "measure": Column(
            TEXT, "jaccard (of the top-K edges), or without a threshold weighted_jaccard, spearman, cosine"
        ),
        "k": Column(INTEGER, "size of the top-K edge sets; null without a threshold"),
        "prompts": Column(INTEGER, "number of prompts that the scores of each set or half are averaged over"),
        "between": Column(REAL, "the measure between the models, at so many prompts each, mean over splits"),
        "between_low": Column(REAL, "lower end of the interval of `between`"),
        "between_high": Column(REAL, "upper end of the interval of `between`"),
        "full": Column(REAL, "the measure between the models, scores averaged over all prompts"),
        "null": Column(REAL, "mean of `full` after permuting edges within strata"),
        "null_low": Column(REAL, "2.5 % quantile of the permutation null"),
        "null_high": Column(REAL, "97.5 % quantile of the permutation null"),
        "null_p": Column(
            REAL,
            "null: no p against this chance level is given, since the edges of a node are not exchangeable (unrelated "
            "models would fall below .05 far too often)",
        ),
        "ceiling_before": Column(REAL, "split-half value of the measure within the model before"),
        "ceiling_after": Column(REAL, "split-half value of the measure within the model after"),
        "ceiling": Column(REAL, "geometric mean of the two ceilings; null where one is not above zero"),
    }
    | RETENTION,
    "node_overlap": PAIR
    | TASK
    | {
        "k": Column(INTEGER, "size of the top-K edge sets: compared are the heads and MLPs that these edges touch"),
        "prompts": Column(INTEGER, "number of prompts that the scores of each set are averaged over"),
        "between": Column(REAL, "Jaccard of the nodes between the models, at so many prompts each, mean over splits"),
        "between_low": Column(REAL, "lower end of the interval of `between`"),
        "between_high": Column(REAL, "upper end of the interval of `between`"),
        "full": Column(REAL, "the same, scores averaged over all prompts"),
        "null": Column(
            REAL, "mean of `full` with as many heads and MLPs of the early, middle and late layers at random places"
        ),
        "null_low": Column(REAL, "2.5 % quantile of these draws"),
        "null_high": Column(REAL, "97.5 % quantile of these draws"),
        "ceiling_before": Column(REAL, "split-half Jaccard of the nodes within the model before"),
        "ceiling_after": Column(REAL, "the same of the model after"),
        "ceiling": Column(REAL, "geometric mean of the two ceilings"),
    }
    | RETENTION,
    "stability": PAIR
    | MODEL
    | TASK
    | {
        "kind": Column(TEXT, "edges, or nodes: the heads and MLPs that the edges touch"),
        "k": Column(INTEGER, "size of the top-K edge sets"),
        "jaccard": Column(REAL, "Jaccard of the sets of two bootstrap resamples of the prompts, mean over all pairs"),
        "low": Column(REAL, "2.5 % quantile over the pairs of resamples; no interval of the mean"),
        "high": Column(REAL, "97.5 % quantile over the pairs"),
        "resamples": Column(INTEGER, "number of resamples (of whole templates where templates are random)"),
        "bar": Column(REAL, "mean from which a circuit is called stable, a convention (arXiv 2510.00845)"),
        "stable": Column(TRUTH, "whether `jaccard` reaches the bar; null where it is undefined"),
        "n": Column(INTEGER, "number of examples"),
        "status": Column(TEXT, "ok, or why a number is missing"),
    },
    "overlap_by_prompts": PAIR
    | TASK
    | {
        "prompts": Column(INTEGER, "number of prompts that the scores of each set are averaged over"),
        "k": Column(INTEGER, "size of the top-K edge sets"),
        "between": Column(REAL, "Jaccard between the models, mean over splits"),
        "null": Column(REAL, "its chance level within strata"),
        "ceiling_before": Column(REAL, "Jaccard within the model before, on disjoint sets of prompts"),
        "ceiling_after": Column(REAL, "the same of the model after"),
        "retention": Column(REAL, "(between - null) / (ceiling - null); null where undefined"),
        "used": Column(TRUTH, "whether `overlap` and `retention` are those at this number"),
    },
}
