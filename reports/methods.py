"""The methods paragraph and the works that it cites. Plain text: the templates escape it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports import formats
from reports.data import CircuitFacts, MethodsFacts
from reports.prose import ablation_words, correction_name, index_name

_SELECTIONS = {
    "both": "examples that both models of a pair answer correctly",
    "before": "examples that the model before answers correctly",
    "any": "examples that at least one model of a pair answers correctly",
    "none": "all aligned examples, whether they are answered correctly or not",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A work that the methods paragraph cites."""

    text: str
    href: str | None = None


def methods_paragraph(facts: MethodsFacts, *, version: str, methods_used: Sequence[str]) -> str:
    """The methods paragraph.

    Args:
        facts: Choices of the run.
        version: Version of mechshift.
        methods_used: How intervals and tests were made, from the findings.
    """
    steps = "" if facts.steps is None else f" with {formats.plural(facts.steps, 'integration step')}"
    rule = "" if not facts.quadrature else f" ({facts.quadrature} quadrature)"
    rule += "" if facts.draws is None else f" ({formats.plural(facts.draws, 'draw')} for each prompt)"
    select = _SELECTIONS.get(facts.select, facts.select)
    judged = "" if facts.select == "none" else _judged(facts.judged_by)
    text = [
        f"Circuits before and after post-training were compared with mechshift {version}.",
        f"Edge attributions were computed with {_attribution(facts)}{steps}{rule}, per example and "
        f"then averaged over {select}.{_metrics(facts.metrics)}{judged}",
    ]
    if facts.top_k:
        sizes = formats.listed([formats.count(k) for k in facts.top_k])
        text.append(f"Overlap is the Jaccard index of the K edges of largest magnitude, K = {sizes}.")
    if facts.permutations:
        text.append(
            f"Chance overlap comes from {formats.count(facts.permutations)} permutations of the edges within strata "
            "of source kind, receiver kind and layer distance. Node overlap is the same of the heads and MLPs that "
            "these edges touch, with as many of them in the early, middle and late layers at random as chance."
        )
    if facts.splits:
        text.append(
            f"The noise ceiling is the overlap of two disjoint halves of the prompts within one model, over "
            f"{formats.count(facts.splits)} random splits; the retention index is "
            "(J_between − J_null) / (J_ceiling − J_null), with the geometric mean of both models' ceilings. The same "
            "halves give the ceilings of weighted Jaccard, Spearman correlation and cosine of all edge scores."
        )
    text += [_circuit_runs(run) for run in facts.circuits]
    replicates = "" if not facts.replicates else f" with {formats.count(facts.replicates)} replicates"
    unit = "templates" if facts.random_templates else "prompts"
    seeds = "training seeds are averaged over as they are"
    if facts.random_seeds:
        seeds = "hypotheses are tested over training seeds as well, crossed with them"
    kind = f"{facts.bootstrap} " if facts.bootstrap else ""
    text.append(
        f"Intervals are at {formats.confidence(facts.confidence)}, from a {kind}bootstrap over {unit}{replicates} "
        f"where not said otherwise; {unit} are the random unit, never edges or layers, and {seeds}."
    )
    if methods_used:
        text.append(f"Hypotheses were tested by: {'; '.join(methods_used)}.")
    text.append(
        f"{_specialization(facts.index)}{_integration(facts.integration)}p-values of the declared hypotheses are "
        f"{correction_name(facts.correction)}-corrected as one family; claims of equivalence were tested against "
        "declared margins (two one-sided tests)."
    )
    if facts.alignment:
        text.append(
            "Output alignment is the entropy in nats of what heads and MLPs write, read through the logit lens and "
            "weighted by the positive part of their direct logit attribution, beside its value with these weights "
            "permuted within heads and within MLPs."
        )
    if facts.packages:
        names = [f"{name} {number}" for name, number in facts.packages.items()]
        text.append(f"Software: {formats.listed(names)}.")
    return " ".join(text)


def _metrics(metrics: Mapping[str, str]) -> str:
    """What is attributed, for the methods paragraph; nothing where it is not known."""
    tasks: dict[str, list[str]] = {}
    for task, metric in metrics.items():
        tasks.setdefault(metric, []).append(task)
    if not tasks:
        return ""
    if len(tasks) == 1:
        return f" The metric is {next(iter(tasks))}."
    return f" The metric is {formats.listed([f'on {formats.listed(names)} {one}' for one, names in tasks.items()])}."


def _judged(judged_by: Mapping[str, str]) -> str:
    """What makes an answer correct, for the methods paragraph; nothing where it is not known."""
    rules = {"metric": "the task's metric is above 0", "argmax": "the most likely token is an answer"}
    used = {
        rule: [task for task, by in judged_by.items() if by == rule] for rule in rules if rule in judged_by.values()
    }
    if not used:
        return ""
    if len(used) == 1:
        return f" An answer is correct where {rules[next(iter(used))]}."
    parts = [f"on {formats.listed(tasks)} where {rules[rule]}" for rule, tasks in used.items()]
    return f" An answer is correct {formats.listed(parts)}."


FREE = "estimated without bias from products over different prompts, with a jackknife over prompts"
"""How an index that noise does not move is estimated."""


def _specialization(index: str) -> str:
    """How specialization was measured, for the methods paragraph; nothing where it was not."""
    if index == "none":
        return ""
    if index == "renyi_entropy":
        return (
            f"Specialization is the {index_name(index)} of the components' shares in the sum of squared effects, "
            f"{FREE}. "
        )
    return (
        f"Specialization is the {index_name(index)} of the component effects, beside its value under sign flips "
        "of the examples; noise moves it, so it is described and not tested. "
    )


def _integration(index: str) -> str:
    """How integration was measured, for the methods paragraph; nothing where it was not."""
    if index == "none":
        return ""
    if index in ("interaction_share", "shapley_share"):
        return f"Integration is the {index_name(index)} in the sum of squared interactions and effects, {FREE}. "
    against = (
        "random signs of the examples" if index in ("interaction", "shapley") else "random graphs of the same strengths"
    )
    return f"Integration is the {index_name(index)}, beside its value under {against}. "


def _circuit_runs(run: CircuitFacts) -> str:
    """How circuits were run, for the methods paragraph."""
    made = "grown greedily from the logits" if run.greedy else "of the edges with the largest scores"
    if run.positive_share is not None:
        made += f", {formats.percent(run.positive_share)} of them by positive scores"
    if run.sign_consistency is not None:
        made += f", whose sign is that of the mean in {formats.percent(run.sign_consistency)} of bootstrap samples"
    ranked = (
        "ranked on one half of the prompts and run on the other, both ways"
        if run.held_out
        else "ranked and run on the same prompts"
    )
    drawn = f", beside {formats.plural(run.random, 'random circuit')} of equal size and depth profile" * (
        run.random > 0
    )
    return (
        f"In {run.name}, circuits {made}, {ranked}, were run with every other edge carrying "
        f"{ablation_words(run.ablation)}{drawn}; faithfulness is (m(C) − m(∅)) / (m(full) − m(∅)), a ratio of means "
        "over prompts."
    )


def references(facts: MethodsFacts, *, equivalence: bool, shapley: bool = False) -> tuple[Reference, ...]:
    """The works behind the methods of this run.

    Args:
        facts: Choices of the run.
        equivalence: Whether a hypothesis is of equivalence.
        shapley: Whether components were knocked out in combinations.
    """
    found = [
        Reference(
            text="Kong, Lee & Jo (2026). Mechanism Shift During Post-training from Autoregressive to Masked Diffusion "
            "Language Models.",
            href="https://arxiv.org/abs/2601.14758",
        )
    ]
    used = facts.averaged or (facts.attribution,)
    if any(method.startswith("eap") or method == "clean-corrupted" for method in used):
        found.append(
            Reference(
                text="Hanna, Pezzelle & Belinkov (2024). Have Faith in Faithfulness: Going Beyond Circuit Overlap When "
                "Finding Model Mechanisms (EAP-IG).",
                href="https://arxiv.org/abs/2403.17806",
            )
        )
    found += [_METHODS[method] for method in used if method in _METHODS]
    if facts.circuits:
        found.append(
            Reference(
                text="Mueller et al. (2025). MIB: A Mechanistic Interpretability Benchmark (faithfulness, CMD, CPR).",
                href="https://arxiv.org/abs/2504.13151",
            )
        )
    if shapley:
        found.append(
            Reference(
                text="Grabisch & Roubens (1999). An axiomatic approach to the concept of interaction among players in "
                "cooperative games. International Journal of Game Theory 28, 547–565."
            )
        )
    if facts.correction.lower() == "holm":
        found.append(
            Reference(
                text="Holm (1979). A simple sequentially rejective multiple test procedure. "
                "Scandinavian Journal of Statistics 6, 65–70."
            )
        )
    if equivalence:
        found.append(
            Reference(
                text="Schuirmann (1987). A comparison of the two one-sided tests procedure and the power approach for "
                "assessing the equivalence of average bioavailability. Journal of Pharmacokinetics and "
                "Biopharmaceutics 15, 657–680."
            )
        )
    if facts.replicates:
        found.append(
            Reference(
                text="Davison & Hinkley (1997). Bootstrap Methods and their Application. Cambridge University Press."
            )
        )
    return tuple(found)


_METHODS = {
    "expected-gradients": Reference(
        text="Erion, Janizek, Sturmfels, Lundberg & Lee (2021). Improving performance of deep learning models with "
        "axiomatic attribution priors and expected gradients. Nature Machine Intelligence 3, 620–631.",
        href="https://arxiv.org/abs/1906.10670",
    ),
    "gim": Reference(
        text="Edin et al. (2025). GIM: Improved Interpretability for Large Language Models.",
        href="https://arxiv.org/abs/2505.17630",
    ),
    "relp": Reference(
        text="Rezaei Jafari, Eberle, Khakzar & Nanda (2025). RelP: Faithful and Efficient Circuit Discovery via "
        "Relevance Patching.",
        href="https://arxiv.org/abs/2508.21258",
    ),
}
"""Attribution method -> where it is from."""


def _attribution(facts: MethodsFacts) -> str:
    if not facts.averaged:
        return _method_name(facts.attribution)
    return "the mean rank of each edge by " + formats.listed([_method_name(method) for method in facts.averaged])


def _method_name(method: str) -> str:
    names = {
        "eap": "edge attribution patching",
        "eap-ig": "edge attribution patching with integrated gradients (EAP-IG; Hanna et al. 2024)",
        "eap-ig-activations": "EAP-IG over the activations of all components in turn (Hanna et al. 2024)",
        "eap-ig-sources": "integrated gradients over the activations of each edge's own source",
        "expected-gradients": "edge attribution patching with expected gradients (Erion et al. 2021)",
        "gim": "edge attribution patching with gradient interaction modifications (GIM; Edin et al. 2025)",
        "relp": "relevance patching of edges (RelP; Rezaei Jafari et al. 2025)",
        "clean-corrupted": "edge attribution patching averaged over the clean and the corrupted run",
        "exact": "exact edge patching",
    }
    return names.get(method, method)
