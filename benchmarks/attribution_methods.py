"""Which method of edge attribution is best, by what, and at what cost?

    python benchmarks/attribution_methods.py                               # the full size
    python benchmarks/attribution_methods.py --quick                       # minutes on one core
    python benchmarks/attribution_methods.py --real                        # SmolLM2-135M, once it was fetched
    python benchmarks/attribution_methods.py --models bundled:tiny-s4/arm  # also, or instead, other models

Two kinds of cases. On models (a model and a task each) it is asked how well a method agrees with patching every edge
(Spearman correlation over edges of magnitudes of mean scores, Jaccard overlap of the strongest edges), how faithful
circuits of its strongest edges are on the other half of the prompts (CPR, CMD; beside random circuits of the same
depth profile), and how much its strongest edges change over bootstrap samples of the prompts. On circuits that were
planted by hand it is asked how well it finds them. Cost is a ratio to EAP, measured in turns within one process.

What is measured goes into `results/attribution_methods.json` as it comes. Called again with the same size, what is
there is not measured again; `--table` only writes the page. The page is `docs/design/attribution-methods.md`.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr
from shapes import as_model, machine
from timing import interleaved, ratio

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.attribution.methods import Method, mean_of_ranks
from mechshift_core.attribution.selection import circuit_sizes, random_like, top_edges
from mechshift_core.attribution.sign_selection import consistent, sign_consistency, top_edges_by_sign
from mechshift_core.execution.batches import to_batch
from mechshift_core.graph import Graph
from mechshift_core.models.load import Model
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.counterfactual import generated_dataset
from mechshift_core.zoo.planted import PlantedCircuit, planted_circuits
from mechshift_core.zoo.planted_variants import planted_variants
from stats import edge_auroc, recovery_at_size
from stats.faithfulness import faithfulness_curve

Floats = npt.NDArray[np.float64]
RESULTS = Path(__file__).parent / "results" / "attribution_methods.json"
PAGE = Path(__file__).parents[1] / "docs" / "design" / "attribution-methods.md"
SINGLE: tuple[Method, ...] = (
    "eap", "clean-corrupted", "eap-ig", "eap-ig-activations", "eap-ig-sources", "expected-gradients", "gim", "relp",
)  # fmt: skip
AVERAGED: tuple[Method, ...] = ("eap-ig", "gim", "relp")
RANKS = f"rank-average ({', '.join(AVERAGED)})"
CONSISTENT, POSITIVE = "eap-ig, signs of .95", "eap-ig, 70 % positive"
SELECTED = {CONSISTENT: 0.95, POSITIVE: 0.7}
"""Selections of edges by the scores of EAP-IG, which are other circuits and no other scores."""
RANDOM = "random circuits"
PERCENTS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
TOP = 50
Name = Literal["spearman", "top", "cpr", "cmd", "stability", "auroc", "recovery", "cost"]
MEASURES: dict[Name, str] = {
    "spearman": "Spearman with patching",
    "top": f"top {TOP} of patching",
    "cpr": "CPR",
    "cmd": "CMD",
    "stability": "stability",
    "auroc": "AUROC, planted",
    "recovery": "recovery, planted",
    "cost": "cost / EAP",
}
SMALL = "**This is the quick size: few prompts, so that differences of some hundredths mean nothing.**"
MASKS = {"bundled:smollm2/mdm": "<empty_output>"}
"""Models whose tokenizer names no mask token: the one that they were trained with."""
KINDS = {
    "autoregressive": "Autoregressive models",
    "masked_diffusion": "Masked diffusion models",
    "planted": "Planted circuits",
}
EXACT_EDGES = 5000
"""Edges beyond which not every edge is patched; agreement with patching is then left out."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; `name` tells results of one size from those of another."""

    name: str
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    examples: int
    exact_examples: int
    planted: int
    planted_seeds: int
    percents: tuple[float, ...]
    random: int
    resamples: int
    repeats: int
    left_out: tuple[Method, ...] = ()

    @property
    def single(self) -> tuple[Method, ...]:
        """The methods that are measured by themselves."""
        return tuple(one for one in SINGLE if one not in self.left_out)


TINY = ("arm", "mdm")
FULL = Size(
    "full", ("ioi", "countdown", "infilling"), tuple(f"bundled:tiny-s{s}/{m}" for s in range(3) for m in TINY), 100, 40,
    60, 3, PERCENTS, 5, 100, 7,
)  # fmt: skip
QUICK = Size(
    "quick", ("ioi",), tuple(f"bundled:tiny-s0/{m}" for m in TINY), 12, 4, 12, 1, (1.0, 5.0, 20.0, 100.0), 2, 20, 1
)
REAL = Size(
    "real", ("ioi", "greater_than"), tuple(f"bundled:smollm2/{m}" for m in TINY), 24, 0, 0, 0,
    (0.2, 1.0, 5.0, 20.0, 50.0), 2, 100, 1, ("eap-ig-activations", "eap-ig-sources"),
)  # fmt: skip
"""A model of 135 million parameters and 30 layers: too many edges to patch each, and too many paths of activations."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few prompts, two models, one task")
    parser.add_argument("--real", action="store_true", help="SmolLM2-135M in place of the tiny models")
    parser.add_argument(
        "--models", nargs="*", help="in place of the tiny ones; LABEL/mdm is taken for a diffusion model"
    )
    parser.add_argument("--no-planted", action="store_true")
    parser.add_argument("--table", action="store_true", help="write the page from what was measured")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = REAL if options.real else QUICK if options.quick else FULL
    content = read(size)
    if not options.table:
        for name in size.models if options.models is None else options.models:
            on_model(name, size, content)
        if not options.no_planted:
            on_planted(size, content)
    tiny = read(FULL) if options.real else content
    PAGE.write_text("\n".join([page(tiny), *real_part(read(REAL))]), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def results_of(size_name: str) -> Path:
    return RESULTS.with_stem(f"{RESULTS.stem}_real") if size_name == REAL.name else RESULTS


def read(size: Size) -> dict[str, Any]:
    """What was measured at this size, or nothing."""
    settings = json.loads(json.dumps(asdict(size)))
    if results_of(size.name).exists():
        content: dict[str, Any] = json.loads(results_of(size.name).read_text(encoding="utf-8"))
        if content["size"] == settings:
            return content
    return {"size": settings, "machine": machine("cpu"), "cases": {}}


def keep(content: dict[str, Any], case: str, kind: str, method: str, found: Mapping[str, float]) -> None:
    """Add numbers of a case, and write everything: a call that is stopped loses one method of one case."""
    entry = content["cases"].setdefault(case, {"kind": kind, "methods": {}})
    entry["methods"].setdefault(method, {}).update({name: round(value, 4) for name, value in found.items()})
    content["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    results = results_of(content["size"]["name"])
    waiting = results.with_suffix(".part")
    waiting.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    waiting.replace(results)
    print(f"{case}: {method}: {dict(found)}", flush=True)


def on_model(name: str, size: Size, content: dict[str, Any]) -> None:
    """Every task of one model."""
    wanted = [*size.single, RANKS, *SELECTED, RANDOM]
    paradigm: Any = "masked_diffusion" if "mdm" in name else "autoregressive"
    cases = {task: f"{name.removeprefix('bundled:')}, {task}" for task in size.tasks}
    known = {case: content["cases"].get(case, {}).get("methods", {}) for case in cases.values()}
    if all(set(wanted) <= set(found) for found in known.values()):
        return
    model = load_model(name, paradigm=paradigm, device="cpu", mask_token=MASKS.get(name))
    for task, case in cases.items():
        done = known[case]
        missing = [method for method in wanted if method not in done]
        if missing:
            batch = prompts(model, task, size.examples)
            for method, found in measured(model, batch, size, missing):
                keep(content, case, paradigm, method, found)


def measured(
    model: Model, batch: CounterfactualBatch, size: Size, missing: Sequence[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """What is measured of each method on one batch."""
    graph = Graph.of(model.shape)
    needed = [one for one in size.single if one in missing or (set(missing) & {RANKS, *SELECTED} and one in AVERAGED)]
    scores = {method: attribute_edges(model, batch, method=method).values.double() for method in needed}
    averaged = {one: scores[one] for one in AVERAGED if one in scores}
    found = {method: values.numpy() for method, values in scores.items()}
    if RANKS in missing:
        found[RANKS] = mean_of_ranks(list(averaged.values())).numpy()
    exact: Floats | None = None
    if len(graph.edges) <= EXACT_EDGES:
        exact = (
            attribute_edges(model, batch.rows(slice(0, size.exact_examples)), method="exact").mean().double().numpy()
        )
    half = np.arange(len(batch)) % 2 == 0
    ranked: dict[str, Floats] = {method: values[half].mean(0) for method, values in found.items()}
    curves = Curves(model, batch, size, half)
    times = cost(model, batch, [one for one in size.single if one in missing], size.repeats)
    for method in missing:
        if method == RANDOM:
            yield RANDOM, curves.random()
            continue
        if method in SELECTED:
            yield method, curves.areas(selected(method, found["eap-ig"][half], curves.sizes))
            continue
        numbers = curves.areas([top_edges(ranked[method], edges) for edges in curves.sizes])
        numbers["stability"] = stability(found[method], max(TOP, len(graph.edges) // 20), size.resamples)
        if exact is not None:
            own = found[method][: size.exact_examples].mean(0)
            numbers["spearman"] = float(spearmanr(np.abs(own), np.abs(exact)).statistic)
            numbers["top"] = jaccard(top_edges(own, TOP), top_edges(exact, TOP))
        if method in times:
            numbers["cost"] = times[method]
        yield method, numbers


class Curves:
    """Circuits that are run on the prompts that did not rank them."""

    def __init__(self, model: Model, batch: CounterfactualBatch, size: Size, half: npt.NDArray[np.bool_]) -> None:
        self.model = model
        self.batch = batch.rows(torch.from_numpy(~half))
        self.edges = len(Graph.of(model.shape).edges)
        self.sizes = tuple(dict.fromkeys(circuit_sizes(size.percents, self.edges)))
        self.draws = size.random
        whole = np.ones(self.edges, dtype=bool)
        self.full, self.empty = evaluate_circuits(model, self.batch, [whole, ~whole]).double().numpy()

    def areas(self, circuits: Sequence[npt.NDArray[np.bool_]]) -> dict[str, float]:
        """CPR and CMD of circuits of rising size; one that did not grow is left out."""
        members = np.array([int(one.sum()) for one in circuits])
        rising = [place for place, own in enumerate(members) if own > max([0, *members[:place]])]
        metric = evaluate_circuits(self.model, self.batch, [circuits[place] for place in rising]).double().numpy()
        fractions = members[rising] / self.edges
        curve = faithfulness_curve(metric, full=self.full, empty=self.empty, fractions=fractions)
        values = {"cpr": curve.cpr.estimate, "cmd": curve.cmd.estimate}
        return {name: float(value) for name, value in values.items() if value is not None and np.isfinite(value)}

    def random(self) -> dict[str, float]:
        """The mean of random circuits of the depth profile of EAP's."""
        graph, rng = Graph.of(self.model.shape), np.random.default_rng(0)
        mean = attribute_edges(self.model, self.batch, method="eap").mean().double().numpy()
        like = [top_edges(mean, edges) for edges in self.sizes]
        found = [self.areas([random_like(graph, one, rng) for one in like]) for _ in range(self.draws)]
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def selected(method: str, scores: Floats, sizes: Sequence[int]) -> list[npt.NDArray[np.bool_]]:
    """Circuits of a selection that uses the signs of the scores of single prompts, [examples, edges]."""
    mean = scores.mean(0)
    if method == POSITIVE:
        return [top_edges_by_sign(mean, edges, positive_share=SELECTED[POSITIVE]) for edges in sizes]
    kept = consistent(mean, sign_consistency([scores], np.random.default_rng(0)), SELECTED[CONSISTENT])
    return [top_edges(kept, edges) for edges in sizes]


def stability(scores: Floats, k: int, resamples: int) -> float:
    """Mean Jaccard overlap of the k strongest edges of every two bootstrap samples of the prompts."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), size=resamples)
    tops = np.stack([top_edges(one @ scores, k) for one in weights]).astype(np.float64)
    shared, each = tops @ tops.T, tops.sum(1)
    overlap = shared / (each[:, None] + each - shared)
    return float(overlap[np.triu_indices(resamples, 1)].mean())


def jaccard(left: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> float:
    return float((left & right).sum() / (left | right).sum())


def cost(model: Model, batch: CounterfactualBatch, methods: Sequence[Method], repeats: int) -> dict[str, float]:
    """Time of each method over that of EAP, the median of rounds."""
    if not methods:
        return {}
    part = batch.rows(slice(0, 4))
    work = {one: lambda one=one: attribute_edges(model, part, method=one) for one in dict.fromkeys(("eap", *methods))}
    seconds = interleaved(work, repeats=repeats)
    return {one: ratio(seconds, one, "eap")[0] for one in methods}


def on_planted(size: Size, content: dict[str, Any]) -> None:
    """Every planted circuit, with some draws of the random weights."""
    for seed in range(size.planted_seeds):
        for planted in (*planted_circuits(seed=seed), *planted_variants(seed=seed)):
            case = f"planted: {planted.name}, {seed}"
            done = content["cases"].get(case, {}).get("methods", {})
            missing = [method for method in (*SINGLE, RANKS) if method not in done]
            if missing:
                for method, found in discovered(planted, size, missing):
                    keep(content, case, "planted", method, found)


def discovered(planted: PlantedCircuit, size: Size, missing: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    model = as_model(planted.module, planted.name)
    batch = CounterfactualBatch(**asdict(planted.draw(size.planted, 1)))
    truth = np.isin(Graph.of(model.shape).edges, planted.edges)
    scores = {one: attribute_edges(model, batch, method=one).values for one in SINGLE if one in (*missing, *AVERAGED)}
    means = {method: values.double().mean(0).numpy() for method, values in scores.items()}
    means[RANKS] = mean_of_ranks([scores[one] for one in AVERAGED]).double().mean(0).numpy()
    for method in missing:
        found = means[method]
        yield method, {"auroc": edge_auroc(found, truth), "recovery": recovery_at_size(found, truth)}


def prompts(model: Model, task: str, examples: int) -> CounterfactualBatch:
    """Prompts of one length, so that they are one batch."""
    assert model.tokenizer is not None
    dataset = generated_dataset(TASKS[task], model.tokenizer, examples=3 * examples, seed=0)
    lengths = [(len(example.clean_ids), example.masks) for example in dataset.examples]
    usual = max(set(lengths), key=lengths.count)
    chosen = [example for example, length in zip(dataset.examples, lengths, strict=True) if length == usual]
    return to_batch(model, dataset, chosen[:examples])


def page(content: Mapping[str, Any]) -> str:
    """The Markdown page: means over cases, for causal, bidirectional and planted ones."""
    size, cases = content["size"], content["cases"]
    lines = [
        "<!-- Generated by benchmarks/attribution_methods.py. -->",
        "",
        "# Attribution methods, measured",
        "",
        *([f"Measured on {content['date']}: {content['machine']}."] if cases else []),
        f"Size `{size['name']}`: {size['examples']} prompts a task, {size['exact_examples']} of them patched edge by "
        f"edge, {size['planted']} prompts of each planted circuit, {size['resamples']} bootstrap samples.",
        *([SMALL] if size["name"] == "quick" else []),
        "",
        "The [methods](../interventions.md#edge-scores) with their defaults (5 steps at midpoints, one draw). Each "
        "number is a mean over cases.",
        "",
        "- Spearman with patching: over edges, of magnitudes of mean scores by the method and by patching every edge;",
        f"- top {TOP} of patching: Jaccard overlap of the {TOP} strongest edges of both;",
        "- CPR (higher is better; has no bound) and CMD (lower is better): of circuits of the strongest edges, "
        f"{', '.join(f'{one:g}' for one in size['percents'])} % of the edges, ranked on one half of the prompts and "
        "run on the other;",
        f"- stability: mean Jaccard overlap of the strongest edges (5 %, {TOP} at least) of two bootstrap samples;",
        "- AUROC and recovery: how well edges of circuits that were planted by hand are told from others, and the "
        "share of them among as many strongest edges;",
        "- cost / EAP: time over that of EAP on 4 prompts, within one process. Selections by sign cost nothing beside "
        "EAP-IG.",
        "",
    ]
    if not cases:
        lines += ["Nothing has been measured at this size yet: run `python benchmarks/attribution_methods.py`.", ""]
    return "\n".join([*lines, *parts(cases, "")])


def parts(cases: Mapping[str, Any], of: str) -> Iterator[str]:
    """A table for each kind of case."""
    for kind, title in KINDS.items():
        own = {case: entry["methods"] for case, entry in cases.items() if entry["kind"] == kind}
        if own:
            yield from (f"## {title}{of}", "", f"{len(own)} cases: {'; '.join(sorted(own))}.", "", *table(own), "")


def real_part(content: Mapping[str, Any]) -> Iterator[str]:
    """What was measured of a real model, on fewer prompts and without patching every edge."""
    size = content["size"]
    if content["cases"]:
        yield from parts(content["cases"], ": SmolLM2-135M")
        yield (
            f"Of SmolLM2-135M (measured on {content['date']}): {size['examples']} prompts a task; circuits of "
            f"{', '.join(f'{one:g}' for one in size['percents'])} % of its edges. No edge was patched by itself, and "
            "paths of activations were left out: they take 61 times the passes of `eap-ig`."
        )
        yield ""


def table(cases: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """A row for each method: the mean over the cases that have a number."""
    methods = list(dict.fromkeys(method for found in cases.values() for method in found))
    columns = [name for name in MEASURES if any(name in found for case in cases.values() for found in case.values())]
    rows = ["| method | " + " | ".join(MEASURES[name] for name in columns) + " |", "|---|" + "---|" * len(columns)]
    for method in methods:
        cells = []
        for name in columns:
            values = [found[method][name] for found in cases.values() if name in found.get(method, {})]
            cells.append(f"{np.mean(values):.2f}" if values else "")
        rows.append(f"| {method} | " + " | ".join(cells) + " |")
    return rows


if __name__ == "__main__":
    main()
