"""Tables of edges and overlap of models of any shape: few edges carry most, and the model after shares some of them."""

from __future__ import annotations

import numpy as np
import polars as pl

KS = (50, 100, 200, 400)


def nodes(layers: int, heads: int, groups: int) -> tuple[list[tuple[str, int]], list[tuple[str, int, int]]]:
    """Sources with their layer; receivers with their layer and the number of sources that they can read."""
    sources, receivers = [("input", -1)], []
    for layer in range(layers):
        ports = [f"a{layer}.h{head}<q>" for head in range(heads)]
        ports += [f"a{layer}.kv{group}<{letter}>" for group in range(groups) for letter in "kv"]
        receivers += [(name, layer, len(sources)) for name in ports]
        sources += [(f"a{layer}.h{head}", layer) for head in range(heads)]
        receivers.append((f"m{layer}", layer, len(sources)))
        sources.append((f"m{layer}", layer))
    receivers.append(("logits", layers, len(sources)))
    return sources, receivers


def edges_of_shape(
    layers: int, heads: int, groups: int, *, tasks: int = 1, pairs: int = 1, strongest: int | None = None
) -> pl.DataFrame:
    """The table `edges`; `strongest` leaves out what is among so many of neither model."""
    sources, receivers = nodes(layers, heads, groups)
    source = np.concatenate([np.arange(count) for *_, count in receivers])
    target = np.repeat(np.arange(len(receivers)), [count for *_, count in receivers])
    plain = pl.DataFrame(
        {
            "source": pl.Series([name for name, _ in sources]).gather(source),
            "target": pl.Series([name for name, *_ in receivers]).gather(target),
            "source_layer": np.array([layer for _, layer in sources])[source],
            "target_layer": np.array([layer for _, layer, _ in receivers])[target],
        }
    )
    # Some nodes matter more than others; MLPs and the input most.
    weight = np.array([1.0 if "." in name else 4.0 for name, _ in sources])
    parts = []
    for task in range(tasks):
        for pair in range(pairs):
            made = np.random.default_rng([task, pair])
            strength = weight[source] * np.exp(made.normal(0, 1.0, len(sources)))[source]
            strength *= np.exp(made.normal(0, 1.0, len(receivers)))[target]
            before = strength * made.normal(0, 1, len(source)) ** 3
            after = np.where(made.random(len(source)) < 0.4, strength * made.normal(0, 1, len(source)) ** 3, before)
            ranks = [np.argsort(np.argsort(-np.abs(scores), kind="stable")) + 1 for scores in (before, after)]
            kept = np.minimum(*ranks) <= (strongest or len(source))
            for side, scores, rank in (("before", before, ranks[0]), ("after", after, ranks[1])):
                labels = {"pair": f"pair-{pair}", "role": "treatment", "model": f"{side}-{pair}", "side": side}
                labels |= {"task": f"task-{task}", "regime": "local"}
                columns = [pl.lit(value).alias(name) for name, value in labels.items()]
                scored = plain.with_columns(*columns, score=scores, rank=rank.astype(np.int64), kind=pl.lit("any"))
                parts.append(scored.filter(pl.Series(kept)))
    return pl.concat(parts)


def sizes_table(ks: tuple[int, ...] = KS) -> pl.DataFrame:
    """As much of the table `stability` as says which K the study chose."""
    return pl.DataFrame({"k": ks, "pair": "pair-0", "task": "task-0"})
