"""`mechshift score`: how faithful anyone's circuit is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mechshift_core.cli.circuit_commands import CircuitFile
from mechshift_core.cli.console import Console
from mechshift_core.cli.progress import progress_on

if TYPE_CHECKING:
    from mechshift_core.interchange.scoring import CircuitScore, Measured, SizeScore


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(score)


def score(
    context: typer.Context,
    file: CircuitFile,
    model: Annotated[
        str,
        typer.Option(metavar="SOURCE", help="bundled:NAME, hf:ORG/NAME, gguf:FILE or a folder.", show_default=False),
    ],
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Generated task that gives the prompts.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="FILE", help="Data set that gives them: .jsonl or .csv.")] = None,
    paradigm: Annotated[
        Literal["autoregressive", "masked_diffusion"], typer.Option(help="How the model predicts.")
    ] = "autoregressive",
    ablation: Annotated[
        Literal["counterfactual", "mean", "zero", "resample"],
        typer.Option(help="What edges outside of the circuit carry."),
    ] = "counterfactual",
    examples: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=100_000, help="Prompts; 100, or all of a data set.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of prompts, random circuits and bootstrap.")] = 0,
    random: Annotated[int, typer.Option(min=0, max=1000, help="Random circuits beside each.")] = 5,
    selection: Annotated[
        Literal["top", "greedy"], typer.Option(help="Which edges make circuits of the scores, by size.")
    ] = "top",
    curve: Annotated[bool, typer.Option(help="Run circuits of the scores by size, for CPR and CMD.")] = True,
    adapter: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Adapter that is merged into the model.")
    ] = None,
    mask_token: Annotated[str | None, typer.Option(help="Mask token of a masked diffusion model.")] = None,
    tokenizer: Annotated[str | None, typer.Option(metavar="SOURCE", help="Tokenizer, if not the model's own.")] = None,
    bos: Annotated[
        bool | None,
        typer.Option("--bos/--no-bos", help="Whether prompts begin with the beginning-of-sequence token."),
    ] = None,
    dtype: Annotated[
        Literal["auto", "float64", "float32", "bfloat16", "float16"], typer.Option(help="Number format of the weights.")
    ] = "auto",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the model runs.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Sequences at once; as many as fit into memory unless given.")
    ] = None,
) -> None:
    """Say how faithful a circuit of any tool is: the metric with only it intact, between the empty and the full model.

    Give --task or --data. Exit code 3 if faithfulness is undefined, since the corruption has no effect on the metric.
    """
    from dataclasses import asdict

    from mechshift_core.errors import ExecutionError
    from mechshift_core.interchange import read_circuit, read_for, score_circuit
    from mechshift_core.interchange.scoring import SIZES

    console: Console = context.obj
    found = read_circuit(file)
    given = {"adapter": adapter, "mask_token": mask_token, "tokenizer": tokenizer, "add_bos_token": bos}
    loaded, dataset = read_for(
        model,
        paradigm=paradigm,
        task=task,
        data=None if data is None else str(data),
        examples=100 if examples is None and data is None else examples,
        seed=seed,
        settings={key: value for key, value in given.items() if value is not None},
        execution={"dtype": dtype, "device": device},
    )
    with progress_on(console) as progress:
        scored = score_circuit(
            found, loaded, dataset, ablation=ablation, selection=selection, random=random,
            sizes=SIZES if curve or found.member is None else (), seed=seed, rows=batch_size, progress=progress,
        )  # fmt: skip
    if console.json:
        facts = {"circuit_file": str(file), "model": model, "task": dataset.task, "ablation": ablation, "seed": seed}
        prompts = {"asked": dataset.account.asked, "found": dataset.account.found, "dropped": dict(dataset.dropped)}
        console.result_json({**facts, "data": prompts, "notes": list(found.notes), **asdict(scored)})
    else:
        _print(console, scored, f"{file} on {dataset.task} of {model} (ablation {ablation})")
        for note in (str(dataset.account), *found.notes):
            console.say(f"  {note}")
    if scored.undefined:
        raise ExecutionError(f"faithfulness is undefined: {scored.undefined}; use other prompts, or more of them")


def _print(console: Console, scored: CircuitScore, title: str) -> None:
    console.result(title)
    preferred = "" if scored.preferred is None else f", answer preferred on {scored.preferred:.0%}"
    console.result(
        f"  {scored.prompts} prompts{preferred}; metric {scored.full:.4g} of the full model, {scored.empty:.4g} of the "
        "empty circuit"
    )
    if scored.circuit is not None:
        console.result(f"  faithfulness {_text(scored.circuit.faithfulness)}")
        console.result(f"    {_edges(scored.circuit, scored.edges)}")
    for name, value in (("CPR", scored.cpr), ("CMD", scored.cmd)):
        if value is not None:
            console.result(f"  {name} {_text(value)}")
    for one in scored.curve:
        console.say(f"    {one.percent:>5g} %  {_text(one.faithfulness)}")


def _edges(one: SizeScore, total: int) -> str:
    return f"{one.edges} of {total} edges ({one.edges / total:.2%}), {one.live_edges} on a path to the logits"


def _text(value: Measured) -> str:
    """A number with its intervals, and that of random circuits."""
    if value.estimate is None:
        return "undefined"
    low_high = "" if value.low is None or value.high is None else f" [{_short(value.low)}, {_short(value.high)}]"
    drawn = "" if value.bootstrap is None else f", bootstrap [{', '.join(map(_short, value.bootstrap))}]"
    random = [one for one in value.random if one is not None]
    spread = f"{_short(min(random))} to {_short(max(random))}" if random else ""
    like = f"; random {_short(sum(random) / len(random))} ({spread})" if random else ""
    return f"{_short(value.estimate)}{low_high}{drawn}{like}"


def _short(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # no -0.000
