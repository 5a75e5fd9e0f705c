"""The tables of this room: column, type, meaning."""

from __future__ import annotations

from mechshift_core.kinds.tables import INTEGER, INTERVAL, PAIR, REAL, TASK, TEXT, Column, Tables

_OF = {"intervention": Column(TEXT, "name of the intervention in the spec")}
_PLACE = {
    "token_role": Column(
        TEXT, "role of the tokens whose mean stream is compared, or (read): the stream at the position read"
    ),
    "layer": Column(
        INTEGER, "layers that have written to the stream: 0 is the embedding, the number of layers the end"
    ),
}
_STATUS = {"status": Column(TEXT, "ok, or why a number is missing")}
MOVEMENT_TABLES: Tables = {
    "residual_shift": PAIR
    | TASK
    | _OF
    | _PLACE
    | {
        "distance": Column(
            REAL,
            "1 - cosine of the two models' residual streams on the same prompt, mean over prompts: 0 the same "
            "direction, 1 orthogonal, 2 opposite",
        ),
        "length_ratio": Column(REAL, "length of the stream after over that before, median over prompts"),
        "n": Column(INTEGER, "number of prompts that have the role in both models"),
    }
    | _STATUS
    | INTERVAL,
    "representation_similarity": PAIR
    | TASK
    | _OF
    | _PLACE
    | {
        "cka": Column(
            REAL,
            "debiased linear CKA of the two models' residual streams over prompts: 0 nothing in common, 1 the same but "
            "for a rotation, a factor and an offset",
        ),
        "biased": Column(REAL, "the usual CKA, which few prompts and many dimensions raise"),
        "n": Column(INTEGER, "number of prompts that have the role in both models"),
    }
    | _STATUS
    | INTERVAL,
    "prediction_shift": PAIR
    | TASK
    | _OF
    | {
        "kl": Column(
            REAL,
            "Kullback-Leibler divergence KL(before || after) in nats of the predictions, sum p_before ln(p_before / "
            "p_after) over the vocabulary at the position read, mean over prompts",
        ),
        "kl_reverse": Column(REAL, "KL(after || before), sum p_after ln(p_after / p_before)"),
        "reverse_low": Column(REAL, "lower end of its interval"),
        "reverse_high": Column(REAL, "upper end of its interval"),
        "same_token": Column(REAL, "share of the prompts on which both models find the same token most likely"),
        "n": Column(INTEGER, "number of prompts"),
    }
    | _STATUS
    | INTERVAL,
}
WEIGHT_TABLES: Tables = {
    "weight_shift": PAIR
    | _OF
    | {
        "component": Column(
            TEXT,
            "embedding, unembedding, head a{l}.h{h} (a{l}.kv{j} for shared keys and values), a{l} (bias of the "
            "attention output), MLP m{l}, norms n{l} of a layer, final norm, another module, or all",
        ),
        "kind": Column(TEXT, "q, k, v or o of a head, mlp, norm, embedding, unembedding, other or all"),
        "layer": Column(INTEGER, "layer of the component; null outside of the layers"),
        "head": Column(INTEGER, "number of the head, or of the key/value head; null for what is no head"),
        "parameters": Column(INTEGER, "number of weights and biases; a matrix under two names counts once"),
        "norm_before": Column(REAL, "root of the sum of their squares in the model before"),
        "norm_after": Column(REAL, "the same in the model after"),
        "difference": Column(REAL, "root of the sum of the squared differences, after minus before"),
        "relative": Column(REAL, "difference over norm_before; null where that is 0"),
    }
    | _STATUS,
}
