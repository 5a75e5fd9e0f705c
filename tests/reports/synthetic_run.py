"""A synthetic run that looks like a real one: two pairs, two tasks, six layers, four heads, two key/value heads."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import polars as pl

from mechshift_core.reporting import words_of_measures
from reports import MethodsFacts, ReportData, TaskCount
from stats.findings import Estimate, Finding, Findings, Group, Part, Term

LAYERS, HEADS, GROUPS = 6, 4, 2
PAIRS = (("diffusion-s0", "treatment", "arm-s0", "mdm-s0"), ("control-s0", "control", "arm-s0", "continued-s0"))
TASKS = (("ioi", "local"), ("countdown", "global"))
KS = (50, 100, 200, 400)
PROMPTS = {
    "ioi": ("When Mary and John went to the store , John gave a drink to", "John", "Anna", "Mary", "John"),
    "countdown": ("3 5 7 target 22 :", "22", "8", "3", "5"),
}


WORDS = words_of_measures()
"""How the tool's own measures are spoken of."""


def graph() -> list[tuple[str, str, str, int, int]]:
    """Source, target, kind, source layer and target layer of every edge."""
    sources: list[tuple[str, str, int]] = [("input", "input", -1)]
    edges: list[tuple[str, str, str, int, int]] = []
    for layer in range(LAYERS):
        ports = [(f"a{layer}.h{head}<q>", "q") for head in range(HEADS)]
        ports += [(f"a{layer}.kv{group}<{letter}>", letter) for group in range(GROUPS) for letter in "kv"]
        edges += [(s, t, f"{kind}->{port}", at, layer) for s, kind, at in sources for t, port in ports]
        sources += [(f"a{layer}.h{head}", "head", layer) for head in range(HEADS)]
        edges += [(s, f"m{layer}", f"{kind}->mlp", at, layer) for s, kind, at in sources]
        sources.append((f"m{layer}", "mlp", layer))
    edges += [(s, "logits", f"{kind}->logits", at, LAYERS) for s, kind, at in sources]
    return edges


def edges_table() -> pl.DataFrame:
    made = random.Random(7)
    rows = []
    for task, regime in TASKS:
        base = [made.gauss(0, 1) ** 3 for _ in graph()]
        for pair, role, before, after in PAIRS:
            mix = 0.9 if role == "control" else (0.55 if regime == "local" else 0.1)
            other = [made.gauss(0, 1) ** 3 for _ in graph()]
            scores = {"before": base, "after": [mix * b + (1 - mix) * o for b, o in zip(base, other, strict=True)]}
            for side, model in (("before", before), ("after", after)):
                order = sorted(range(len(base)), key=lambda index, s=side: -abs(scores[s][index]))
                rank = {index: place for place, index in enumerate(order, start=1)}
                rows += [
                    (pair, role, model, side, task, regime, *edge, scores[side][index] / 10, rank[index])
                    for index, edge in enumerate(graph())
                ]
    names = ["pair", "role", "model", "side", "task", "regime", "source", "target", "kind", "source_layer"]
    return pl.DataFrame(rows, schema=[*names, "target_layer", "score", "rank"], orient="row")


def overlap_table() -> pl.DataFrame:
    rows = []
    for task, regime in TASKS:
        for pair, role, *_ in PAIRS:
            for place, k in enumerate(KS):
                null = 0.03 * 2**place
                ceilings = 0.55 + 0.04 * place, 0.48 + 0.05 * place
                ceiling = math.sqrt(ceilings[0] * ceilings[1])
                retention = {("treatment", "local"): 0.62, ("treatment", "global"): 0.11}.get((role, regime), 0.93)
                retention += 0.03 * place
                between = null + retention * (ceiling - null)
                width = 0.22 / (1 + place)
                row = {"pair": pair, "role": role, "task": task, "regime": regime, "measure": "jaccard", "k": k}
                row |= {"prompts": 60}
                row |= {"between": between, "between_low": between - 0.04, "between_high": between + 0.04}
                row |= {"full": between + 0.02, "null": null, "null_low": null * 0.6, "null_high": null * 1.5}
                row |= {"null_p": None, "ceiling_before": ceilings[0], "ceiling_after": ceilings[1]}
                row |= {"ceiling": ceiling, "retention": retention, "status": "ok"}
                row |= {"low": retention - width, "high": retention + width}
                if (role, regime, k) == ("treatment", "global", 50):
                    row |= {"retention": None, "low": None, "high": None, "status": "ceiling does not clear the null"}
                rows.append(row)
            for measure, ceiling in (("weighted_jaccard", 0.71), ("spearman", 0.83), ("cosine", 0.95)):
                moved = (role, regime) == ("treatment", "global")
                null, retention = (0.3, 0.4) if measure == "weighted_jaccard" else (0.02, 0.15 if moved else 0.9)
                between = null + retention * (ceiling - null)
                row = {"pair": pair, "role": role, "task": task, "regime": regime, "measure": measure, "k": None}
                row |= {"prompts": 60}
                row |= {"between": between, "between_low": between - 0.05, "between_high": between + 0.05}
                row |= {"full": between + 0.02, "null": null, "null_low": null - 0.05, "null_high": null + 0.05}
                row |= {"null_p": None, "ceiling_before": ceiling, "ceiling_after": ceiling, "ceiling": ceiling}
                row |= {"retention": retention, "status": "ok", "low": retention - 0.1, "high": retention + 0.1}
                rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def node_overlap_table() -> pl.DataFrame:
    """As that of edges, with more in common and a higher chance level."""
    sets = overlap_table().filter(pl.col("measure") == "jaccard").drop("measure", "null_p")
    names = ("between", "between_low", "between_high", "full", "null", "null_low", "null_high", "ceiling")
    higher = [name for name in sets.columns if name.startswith(names)]
    return sets.with_columns((0.4 + 0.6 * pl.col(higher)).name.keep())


def stability_table() -> pl.DataFrame:
    rows = []
    for task, regime in TASKS:
        for pair, role, before, after in PAIRS:
            for side, model in (("before", before), ("after", after)):
                for kind, base in (("edges", 0.7), ("nodes", 0.86)):
                    for place, k in enumerate(KS):
                        row = {"pair": pair, "role": role, "model": model, "side": side, "task": task, "regime": regime}
                        mean = base + 0.03 * place - 0.04 * (side == "after")
                        row |= {"kind": kind, "k": k, "jaccard": mean, "low": mean - 0.1, "high": min(1, mean + 0.1)}
                        rows.append(
                            row | {"resamples": 50, "bar": 0.8, "stable": mean >= 0.8, "n": 120, "status": "ok"}
                        )
    return pl.DataFrame(rows)


def similarity_table() -> pl.DataFrame:
    rows = []
    for task, regime in TASKS:
        for pair, role, *_ in PAIRS:
            value = 0.7 if (role, regime) == ("treatment", "global") else 0.96
            row = {"pair": pair, "role": role, "task": task, "regime": regime, "similarity": value, "se": 0.01}
            row |= {"df": 119.0, "plain": value - 0.02, "reliability_before": 0.99, "reliability_after": 0.97}
            row |= {"noise_ratio": 1.1, "unrelated": 0.6, "inherited": (value - 0.6) / 0.4, "n": 120, "units": 120}
            row |= {"inherited_low": (value - 0.66) / 0.4, "inherited_high": (value - 0.54) / 0.4, "status": "ok"}
            rows.append(row | {"low": value - 0.02, "high": value + 0.02})
    return pl.DataFrame(rows, infer_schema_length=None)


def layers_table() -> pl.DataFrame:
    rows = []
    for task, regime in TASKS:
        for pair, role, *_ in PAIRS:
            peak = 1.2 if (role, regime) == ("treatment", "global") else 3.4
            shares = {}
            for side, centre in (("before", 3.6), ("after", peak)):
                mass = [math.exp(-((layer - centre) ** 2) / 3) for layer in range(-1, LAYERS)]
                shares[side] = [value / sum(mass) for value in mass]
            shares["shift"] = [a - b for a, b in zip(shares["after"], shares["before"], strict=True)]
            for side, values in shares.items():
                for layer, value in zip(range(-1, LAYERS), values, strict=True):
                    row = {"pair": pair, "role": role, "task": task, "regime": regime, "side": side, "layer": layer}
                    row |= {"depth": layer / LAYERS - 0.5, "share": value, "n": 180}
                    rows.append(row | {"low": value - 0.025, "high": value + 0.03})
    return pl.DataFrame(rows)


def components_table() -> pl.DataFrame:
    made = random.Random(11)
    names = [(f"a{layer}.h{head}", "head", layer) for layer in range(LAYERS) for head in range(HEADS)]
    names += [(f"m{layer}", "mlp", layer) for layer in range(LAYERS)]
    rows = []
    for task, regime in TASKS:
        for pair, role, before, after in PAIRS:
            for side, model in (("before", before), ("after", after)):
                power = 1.6 if (side, role) == ("after", "treatment") else 3.4
                for name, kind, layer in names:
                    effect = made.random() ** power * (1 if made.random() > 0.2 else -1)
                    row = {"pair": pair, "role": role, "model": model, "side": side, "task": task, "regime": regime}
                    row |= {"component": name, "kind": kind, "layer": layer, "effect": effect}
                    rows.append(row | {"low": effect - 0.05, "high": effect + 0.05})
    return pl.DataFrame(rows)


def indices_table() -> pl.DataFrame:
    rows = []
    for task, regime in TASKS:
        for pair, role, *_ in PAIRS:
            after = 0.52 if role == "treatment" else 0.69
            for side, value, null in (("before", 0.71, 0.43), ("after", after, 0.42), ("shift", after - 0.71, -0.01)):
                row = {"pair": pair, "role": role, "task": task, "regime": regime, "side": side}
                for index, measure, less in (("gini", "specialization", 0), ("hoyer", "specialization", 0.1)):
                    rows.append(
                        row | _index(measure, index, value - less, null - less, crossfitted=value - less - 0.02)
                    )
                for index, more in (("participation", 0), ("modularity", 0.1), ("efficiency", 1)):
                    rows.append(row | _index("integration", index, value + more, null + more, crossfitted=None))
    return pl.DataFrame(rows, infer_schema_length=None)


def _index(measure: str, index: str, value: float, null: float, *, crossfitted: float | None) -> dict[str, object]:
    found: dict[str, object] = {"measure": measure, "index": index, "value": value, "null": null}
    found |= {"null_low": null - 0.02, "null_high": null + 0.03, "excess": value - null, "crossfitted": crossfitted}
    return found | {"low": value - 0.05, "high": value + 0.04}


def examples_table() -> pl.DataFrame:
    rows = []
    for pair, role, *models in PAIRS:
        for side, model in zip(("before", "after"), models, strict=True):
            for task, regime in TASKS:
                clean, word, other, answer, foil = PROMPTS[task]
                masked = model == "mdm-s0"
                for example in range(3):
                    at = clean.rindex(word)
                    row = {"pair": pair, "role": role, "model": model, "side": side, "task": task, "regime": regime}
                    row |= {"template": f"{task}-0", "example": example}
                    row |= {"clean": clean + " <mask>" * masked}
                    row |= {"corrupt": clean[:at] + other + clean[at + len(word) :] + " <mask>" * masked}
                    row |= {"answer": answer, "foil": foil, "masks": int(masked), "clean_metric": 4.2}
                    row |= {"corrupt_metric": -3.9, "correct": True, "selected": example > 0}
                    rows.append(row)
    return pl.DataFrame(rows)


def group(sign: int, role: str, regime: str, estimate: float | None, **changes: object) -> Group:
    tasks = {"local": ("ioi",), "global": ("countdown", "infilling"), "": ("ioi", "countdown", "infilling")}[regime]
    made = Group(sign=sign, role=role, pair="", regime=regime, task="", tasks=tasks, estimate=estimate)
    return replace(made, **changes)  # type: ignore[arg-type]


def finding(**changes: object) -> Finding:
    made = Finding(
        id="global-rewired",
        claim="On globally constrained tasks it keeps less of it than on local ones, beyond mere further training.",
        measure="retention",
        estimand="retention, global minus local, treatment minus control",
        test="difference",
        alternative="less",
        margin=None,
        estimate=-0.487,
        se=0.071,
        low=-0.628,
        high=-0.346,
        confidence=0.95,
        statistic=-6.86,
        df=178.2,
        p=0.00002,
        p_corrected=0.00008,
        correction="holm",
        family_size=4,
        n={"prompt": 360, "task": 2, "seed": 1},
        method="studentized bootstrap over prompts",
        seed=20260121,
        verdict="supported",
        status="ok",
        terms=(
            Term(
                pair="diffusion-s0",
                role="treatment",
                seed=0,
                task="countdown",
                regime="global",
                weight=1.0,
                estimate=0.11,
                n=180,
            ),
        ),
        groups=(
            group(1, "treatment", "global", 0.11),
            group(-1, "treatment", "local", 0.42),
            group(-1, "control", "global", 0.55),
            group(1, "control", "local", 0.373),
        ),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def findings() -> Findings:
    retained = finding(
        id="local-retained",
        claim="On prefix-dominant tasks the diffusion model keeps the circuit of its parent.",
        test="equivalence",
        alternative="two-sided",
        margin=0.2,
        estimate=-0.31,
        low=-0.43,
        high=-0.22,
        p=0.98,
        p_corrected=1.0,
        verdict="refuted",
        groups=(group(1, "treatment", "local", 0.42), group(-1, "control", "local", 0.73)),
    )
    early = finding(
        id="early-shift",
        claim="On globally constrained tasks attribution moves to earlier layers.",
        measure="depth_slope",
        estimate=-0.042,
        low=-0.101,
        high=0.017,
        p=0.081,
        p_corrected=0.162,
        verdict="inconclusive",
        method="mixed model, Satterthwaite t",
        groups=(group(1, "treatment", "global", -0.042),),
        parts=(
            Part(key="task", level="countdown", estimate=-0.06, low=-0.12, high=0.0, p=0.05),
            Part(key="task", level="infilling", estimate=-0.024, low=-0.09, high=0.04, p=0.4),
        ),
        message="the variance between seeds is singular: one seed only",
    )
    integrated = finding(
        id="more-integrated",
        claim="Components act together more.",
        measure="integration",
        alternative="greater",
        estimate=None,
        se=None,
        low=None,
        high=None,
        statistic=None,
        df=None,
        p=None,
        p_corrected=None,
        verdict="not estimable",
        status="undefined",
        message="no pairwise knock-outs were run for the pair control-s0",
        terms=(),
        groups=(),
    )
    undefined = Estimate(
        pair="diffusion-s0",
        role="treatment",
        seed=0,
        task="countdown",
        regime="global",
        measure="retention",
        side="between",
        estimate=None,
        low=None,
        high=None,
        confidence=0.95,
        n={"prompt": 180},
        method="split halves",
        status="undefined",
        message="the ceiling does not clear the null at K = 50",
    )
    return Findings(name="tiny", hypotheses=(retained, finding(), early, integrated), estimates=(undefined,))


def report_data() -> ReportData:
    spec = "schema: mechshift/v1\nname: tiny-mechanism-shift\npairs:\n  - {name: diffusion-s0, before: arm-s0}\n"
    return ReportData(
        words=WORDS,
        title="Does diffusion post-training rewire a small model?",
        name="tiny-mechanism-shift",
        version="0.1.0",
        findings=findings(),
        tables={
            "examples": examples_table(),
            "edges": edges_table(),
            "components": components_table(),
            "layers": layers_table(),
            "similarity": similarity_table(),
            "overlap": overlap_table(),
            "node_overlap": node_overlap_table(),
            "stability": stability_table(),
            "indices": indices_table(),
        },
        provenance={
            "spec": {"sha256": "9f2c" * 16, "seed": 20260121},
            "models": {"arm-s0": {"weights": "ab12" * 16, "dtype": "float32"}, "mdm-s0": {"weights": "cd34" * 16}},
            "device": "cpu",
            "deterministic": True,
            "git": None,
            "packages": {"polars": "2.1.0", "torch": "2.13.0"},
        },
        spec_text=spec,
        methods=MethodsFacts(
            steps=5,
            quadrature="gauss-legendre",
            top_k=KS,
            splits=50,
            permutations=1000,
            replicates=5000,
            bootstrap="studentized",
            packages={"torch": "2.13.0", "polars": "2.1.0"},
            judged_by={"ioi": "argmax", "countdown": "argmax"},
        ),
        task_counts=(
            TaskCount(
                task="ioi",
                pair="diffusion-s0",
                asked=200,
                found=200,
                aligned=200,
                read=200,
                kept=196,
                metric_before=1.0,
                metric_after=0.99,
                argmax_before=1.0,
                argmax_after=0.98,
            ),
            TaskCount(
                task="countdown",
                pair="diffusion-s0",
                asked=200,
                found=208,
                aligned=200,
                read=192,
                kept=148,
                dropped={"a word is not in the vocabulary": 8},
                metric_before=1.0,
                metric_after=0.91,
                argmax_before=0.997,
                argmax_after=0.79,
            ),
        ),
        failures=("faithfulness of mdm-s0 on countdown, shard 2: out of memory after 512 s",),
    )
