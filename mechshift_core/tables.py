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
    "role": Column(TEXT, "role of the pair: treatment, control or unrelated"),
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
_RETENTION = {
    "retention": Column(
        REAL,
        "(between - chance) / (ceiling - chance), all on halves: 0 is chance within strata, 1 as similar to the "
        "other model as to itself; null where undefined",
    ),
    "status": Column(TEXT, "ok, or why `retention` or its interval is missing"),
    "low": Column(REAL, "lower end of the interval of `retention`"),
    "high": Column(REAL, "upper end of the interval of `retention`"),
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
        "correct": Column(TRUTH, "whether the model answers the clean prompt correctly, by the rule of the task"),
        "correct_by_metric": Column(TRUTH, "whether the metric on the clean prompt is above 0 (rule `metric`)"),
        "correct_by_argmax": Column(TRUTH, "whether the most likely token is an answer (rule `argmax`)"),
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
        "rank": Column(INTEGER, "rank by magnitude, 1 is the largest; null where the score is 0"),
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
        "edges": Column(INTEGER, "size of the circuit, mean over folds: of edges with a score other than 0"),
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
    "similarity": _PAIR
    | _TASK
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
    | _INTERVAL,
    "overlap": _PAIR
    | _TASK
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
    | _RETENTION,
    "node_overlap": _PAIR
    | _TASK
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
    | _RETENTION,
    "stability": _PAIR
    | _MODEL
    | _TASK
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
    "overlap_by_prompts": _PAIR
    | _TASK
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
    "neurons": _PAIR
    | _MODEL
    | _TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "layer": Column(INTEGER, "layer of the MLP"),
        "neuron": Column(INTEGER, "number of the neuron"),
        "rank": Column(INTEGER, "1 is the strongest on the half of the examples that chooses"),
        "score": Column(REAL, "what corrupting it costs, to first order; mean over the other half"),
        "p_corrected": Column(REAL, "of the score against 0, Benjamini-Hochberg over the listed neurons of the side"),
        "partner": Column(REAL, "score of the same neuron in the other model of the pair"),
        "tokens": Column(TEXT, "tokens at which it is most active in the ten examples that drive it most"),
        "example": Column(INTEGER, "the example that drives it most"),
        "answer": Column(TEXT, "answer that it is most active for; null where answers do not repeat"),
        "selectivity": Column(REAL, "(activity for that answer - mean for others) / their sum, cross-fitted"),
        "selectivity_null": Column(REAL, "mean with the answers permuted over the examples"),
        "selectivity_p": Column(REAL, "one-sided permutation p, not corrected"),
        "n": Column(INTEGER, "number of examples of the half that scores"),
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
    "shapley": _PAIR
    | _MODEL
    | _TASK
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
    | _INTERVAL,
    "shapley_orders": _PAIR
    | {
        "model": Column(TEXT, "name of the model in the spec; null for a shift"),
        "side": Column(TEXT, "before, after, or shift (after minus before, paired)"),
    }
    | _TASK
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
    | _INTERVAL,
    "lens": _PAIR
    | _MODEL
    | _TASK
    | {
        "intervention": Column(TEXT, "name of the intervention in the spec"),
        "component": Column(
            TEXT,
            "residual stream x{l} (x{L}, which the final norm reads, gives the model's output), input, head a{l}.h{h}, "
            "MLP m{l}, or bias (what no component writes)",
        ),
        "kind": Column(TEXT, "residual, input, head, mlp or bias"),
        "layer": Column(INTEGER, "layer of the component; -1 for the input, null for bias"),
        "log_prob": Column(
            REAL,
            "ln of the answers' probability where the vector alone is read through final norm and output matrix, mean "
            "over examples (and states); low and high are its interval",
        ),
        "foil_log_prob": Column(REAL, "the same of the foils"),
        "rank": Column(REAL, "rank of the most likely answer, 1 is the first, median over examples"),
        "entropy": Column(REAL, "entropy of the distribution in nats, mean over examples"),
        "top": Column(TEXT, "the tokens that are most often the most likely one, with the share of the examples"),
        "direct": Column(
            REAL,
            "direct logit attribution: what the component adds to the mean logit of the answers minus that of the "
            "foils, before soft-capping, at the final norm's scale of the whole stream; input, heads, MLPs and bias "
            "sum to the difference; null for streams",
        ),
        "direct_low": Column(REAL, "lower end of its interval"),
        "direct_high": Column(REAL, "upper end of its interval"),
        "n": Column(INTEGER, "number of examples"),
    }
    | _INTERVAL,
    "denoising": _PAIR
    | _MODEL
    | _TASK
    | {
        "step": Column(INTEGER, "denoising step, 1 is the first; the answer is hidden in each"),
        "component": Column(TEXT, "residual stream x{l} that is read through the logit lens"),
        "layer": Column(INTEGER, "its layer"),
        "log_prob": Column(REAL, "ln of the answers' probability, mean over the examples that have the step"),
        "rank": Column(REAL, "rank of the most likely answer, median over the same"),
        "correct": Column(REAL, "share of the same whose most likely token is an answer"),
        "decided": Column(REAL, "share of all selected examples whose answer is right from this step, or before, on"),
        "n": Column(INTEGER, "number of examples that have the step"),
    }
    | _INTERVAL,
    "indices": _PAIR
    | _TASK
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
    | _INTERVAL,
    "selectivity": _PAIR
    | _MODEL
    | _BUDGET
    | {
        "component": Column(TEXT, "head a{l}.h{h} or MLP m{l}"),
        "kind": Column(TEXT, "head or mlp"),
        "layer": Column(INTEGER, "layer of the component"),
        "task": Column(TEXT, "task in which the component has the largest share of the effects"),
        "selectivity": Column(
            REAL,
            "(share there - mean share in the other tasks) / their sum, the task chosen on other prompts than the "
            "shares are taken from: 1 is one task only, 0 none in particular",
        ),
        "null": Column(REAL, "mean with the tasks permuted over the prompts"),
        "null_low": Column(REAL, "2.5 % quantile of the null"),
        "null_high": Column(REAL, "97.5 % quantile of the null"),
        "p": Column(REAL, "one-sided permutation p, not corrected"),
        "n": Column(INTEGER, "number of prompts of all tasks"),
    },
    "mixed_models": _BUDGET
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
    | _INTERVAL,
    "marginal_contrasts": _BUDGET
    | {
        "scale": Column(TEXT, "share or log-ratio, as in `mixed_models`"),
        "kind": Column(TEXT, "slope (of the shift over depth), difference (of slopes) or difference in differences"),
        "role": Column(TEXT, "level of role, or treatment - control; null where the slope does not depend on it"),
        "regime": Column(TEXT, "level of regime, or global - local; null where the slope does not depend on it"),
        "over": Column(TEXT, "what the error is over: prompts and seeds, or prompts (for these seeds)"),
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
