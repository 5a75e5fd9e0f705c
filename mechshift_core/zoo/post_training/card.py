"""Model cards of post-trained models, from the files beside them."""

from __future__ import annotations

import json
from pathlib import Path

from mechshift_core.errors import UsageError
from mechshift_core.models.adapters import adapters_hash
from mechshift_core.models.sources import weights_hash
from mechshift_core.zoo.card_parts import save_card, table
from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe
from mechshift_core.zoo.post_training.results import read_curve
from mechshift_core.zoo.recipes import Diffusion, split_name
from mechshift_core.zoo.storage import EVALUATION, INPUTS, TRAINING, MetricEvaluation, read_record, reading

KINDS = {
    "mdm": "A masked diffusion model, post-trained from",
    "arm-continued": "The control: trained on for as long as `mdm`, on the same sentences, still autoregressive, from",
}
LIMITS = """\
It was made to compare circuits before and after post-training, and is an object of study. One training seed says
nothing about others. Training again gives the same weights only with the same versions, the same kind of processor and
the same number of threads.
"""


def write_card(folder: Path) -> None:
    """Write the card of a post-trained model into its folder.

    Raises:
        UsageError: if the folder lacks what the card is made from, or can't be written.
    """
    save_card(folder, card(folder))


def card(folder: Path) -> str:
    """The card, in Markdown.

    Raises:
        UsageError: if the folder lacks what it is made from.
    """
    record = read_record(folder)
    recipe, evaluation = record.recipe, record.evaluation
    if not isinstance(recipe, PostTrainingRecipe) or not isinstance(evaluation, MetricEvaluation):
        raise UsageError(f"{folder} is no post-trained model: expected {TRAINING} and {EVALUATION} in it")
    phase, step = split_name(folder.name)
    settings = recipe.phases()[phase]
    way = "" if step is None else f"A checkpoint on the way to `{phase}`, after {step} steps of it. "
    lines = [
        f"# {recipe.name}/{folder.name}\n",
        f"{way}{KINDS[phase]} `{recipe.base}`. Seed {recipe.seed}; the whole recipe is `{TRAINING}`.\n",
        f"- Weights: {_weights(recipe)}, stored in float16",
        f"- SHA-256 of them: `{_sha256(recipe, folder)}`",
        f"- of the base's: `{_base(folder)}`",
        f"- {settings.steps} steps of AdamW, learning rate {settings.learning_rate:g}, warm-up {settings.warmup},\n"
        f"  cosine decay to a tenth, weight decay {settings.weight_decay:g}; computed in {recipe.dtype}",
    ]
    if phase == "mdm" and isinstance(settings, Diffusion):
        opens = f"opens over the first {settings.annealing:.0%} of the steps" if settings.annealing else "is open"
        lines.append(
            f"- Masked-diffusion loss, prediction shifted, attention {opens};\n"
            f"  {settings.masked_prompts:.0%} of the task sentences are masked anywhere, the others in the answer"
        )
    lines += ["", "## Data\n", _mix(recipe), "\n## Held-out prompts and text\n", _results(evaluation)]
    return "\n".join([*lines, "\n## Learning curve\n", _curve(folder), "\n## Limits\n", LIMITS])


def _sha256(recipe: PostTrainingRecipe, folder: Path) -> str:
    """Of the adapter, or of the whole checkpoint, as a run that uses it records them."""
    with reading(folder):
        return weights_hash(folder) if recipe.lora is None else adapters_hash((folder,))


def _base(folder: Path) -> str:
    """The hash of the base's weights, as the training noted it."""
    with reading(folder / INPUTS):
        return str(json.loads((folder / INPUTS).read_text(encoding="utf-8"))["base"])


def _weights(recipe: PostTrainingRecipe) -> str:
    if recipe.lora is None:
        return "all"
    where = ", ".join(recipe.lora.targets) or "every linear layer of the blocks"
    return f"LoRA of rank {recipe.lora.rank} (alpha {recipe.lora.alpha}) on {where}"


def _mix(recipe: PostTrainingRecipe) -> str:
    rows = sorted(recipe.batch.items())
    if recipe.text is not None:
        files = f" and {len(recipe.text.files)} files" if recipe.text.files else ""
        rows.append((f"text: {recipe.text.samples} sequences that the base wrote{files}", recipe.text.per_batch))
    return table(("sentences", "in a step"), rows)


def _results(evaluation: MetricEvaluation) -> str:
    rows = [
        (
            name,
            f"{share:.1%}",
            f"{evaluation.argmax[name]:.1%}",
            f"{evaluation.base[name]:.1%}" if name in evaluation.base else "–",
        )
        for name, share in evaluation.held_out.items()
    ]
    head = (
        f"Shares of {evaluation.prompts_per_task} prompts a task whose combinations are not in the training sentences."
    )
    text = ""
    if evaluation.perplexity is not None and evaluation.base_perplexity is not None:
        bound = " (an upper bound)" if split_name(evaluation.model)[0] == "mdm" else ""
        found, of_base = evaluation.perplexity, evaluation.base_perplexity
        text = f"\n\nPerplexity on held-out text: {found:.1f}{bound}; the base {of_base:.1f}."
    shown = table(("task", "answer preferred", "answer likeliest", "base, preferred"), rows)
    return f"{head}\n\n{shown}{text}"


def _curve(folder: Path) -> str:
    points = read_curve(folder)
    tasks = [*points[-1].metric]
    rows = [
        (
            point.step,
            *(f"{point.metric[name]:.0%}" for name in tasks),
            "–" if point.perplexity is None else f"{point.perplexity:.1f}",
        )
        for point in points
    ]
    return table(("steps", *tasks, "perplexity"), rows)
