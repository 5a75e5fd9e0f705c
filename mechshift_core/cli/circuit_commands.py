"""`mechshift circuit export`, `circuit convert`, `circuit show`: circuits and scores in the formats of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.run_commands import RunFolder
from mechshift_core.errors import UsageError

if TYPE_CHECKING:
    from mechshift_core.interchange import ScoredCircuit

HELP = "Circuits and edge scores in the formats of MIB, EAP-IG, GraphML and JSON: out of a run, and in again."
circuit = typer.Typer(no_args_is_help=True, help=HELP)
CircuitFile = Annotated[
    Path, typer.Argument(metavar="CIRCUIT", help="File of MIB, EAP-IG, GraphML, or JSON of ours.", show_default=False)
]
Format = Annotated[
    Literal["mib", "eap-ig", "graphml", "json"],
    typer.Option("--format", help="mib (importances.json), eap-ig (the same file), graphml, json (ours)."),
]
Out = Annotated[Path, typer.Option(metavar="FILE", help="File to write.", show_default=False)]
Top = Annotated[int | None, typer.Option(metavar="K", min=1, help="Mark the K strongest edges as the circuit.")]
Percent = Annotated[
    float | None, typer.Option(metavar="P", help="The same in percent of all edges, above 0 and up to 100.")
]
Selection = Annotated[
    Literal["top", "greedy"],
    typer.Option(help="Which edges: the largest magnitudes, or those among them that lead to the logits."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(circuit, name="circuit")


@circuit.command("export")
def export(
    context: typer.Context,
    run: RunFolder,
    task: Annotated[str, typer.Option(help="Task.", show_default=False)],
    format: Format,
    out: Out,
    model: Annotated[str | None, typer.Option(help="Model; the mean is over all aligned prompts.")] = None,
    pair: Annotated[str | None, typer.Option(help="Pair; the mean is over the prompts selected for it.")] = None,
    side: Annotated[Literal["before", "after"], typer.Option(help="Which model of the pair.")] = "after",
    scores: Annotated[
        Literal["signed", "absolute"], typer.Option(help="Mean of the signed scores, or of their magnitudes.")
    ] = "signed",
    top: Top = None,
    share: Percent = None,
    selection: Selection = "top",
    attribution: Annotated[str | None, typer.Option(help="Edge attribution; the spec's first unless given.")] = None,
    budget: Annotated[str | None, typer.Option(help="Inference budget; the spec's first unless given.")] = None,
) -> None:
    """Write the mean edge scores of a model on a task, and with --top or --share a circuit of them.

    Give --model or --pair. The scores are stored ones: no model is loaded. A positive score means that corrupting the
    edge lowers the metric. MIB and EAP-IG have an edge for every query head where heads share keys and values: each
    gets an equal part of the score of the shared edge.
    """
    from mechshift_core.interchange import circuit_of_run

    found = circuit_of_run(
        run, task=task, model=model, pair=pair, side=side, attribution=attribution, budget=budget, scores=scores
    )
    _write(context.obj, _selected(found, top, share, selection), out, format)


@circuit.command("convert")
def convert(
    context: typer.Context,
    file: CircuitFile,
    format: Format,
    out: Out,
    top: Top = None,
    share: Percent = None,
    selection: Selection = "top",
) -> None:
    """Write a circuit file in another format; --top or --share mark another circuit by its scores."""
    from mechshift_core.interchange import read_circuit

    found = read_circuit(file)
    _notes(context.obj, found)
    _write(context.obj, _selected(found, top, share, selection), out, format)


@circuit.command("show")
def show(
    context: typer.Context,
    file: CircuitFile,
    top: Annotated[int, typer.Option(min=0, help="Strongest edges that are listed.")] = 10,
) -> None:
    """Check a circuit file and say what is in it: the sizes of its graph, its edges, and the strongest scores."""
    from mechshift_core.interchange import read_circuit

    console: Console = context.obj
    found = read_circuit(file)
    strongest = _strongest(found, top)
    if console.json:
        console.result_json({**_facts(found), "strongest": strongest})
        return
    console.result(f"{file}: {_described(found)}")
    for key, value in found.about.items():
        console.result(f"  {key}: {value}")
    for name, score in strongest.items():
        console.result(f"  {score:+.4g}  {name}")
    _notes(console, found)


def _selected(found: ScoredCircuit, top: int | None, share: float | None, selection: str) -> ScoredCircuit:
    from mechshift_core.interchange import with_circuit

    if top is None and share is None:
        if selection != "top":
            raise UsageError("--selection says which edges --top or --share take; give one of them")
        return found
    if top is not None and share is not None:
        raise UsageError("--top and --share: expected one of them, got both")
    return with_circuit(found, top=top, share=share, selection="greedy" if selection == "greedy" else "top")


def _write(
    console: Console, found: ScoredCircuit, out: Path, format: Literal["mib", "eap-ig", "graphml", "json"]
) -> None:
    from mechshift_core.interchange import write_circuit

    write_circuit(found, out, format)
    lost = _lost(found, format)
    if console.json:
        console.result_json({"written": str(out), "format": format, **_facts(found), "lossy": lost})
        return
    console.result(f"wrote {out}: {_described(found)}")
    if found.about.get("scores"):
        console.say(f"  scores: {found.about['scores']}")
    for line in lost:
        console.say(f"  note: {line}")


def _lost(found: ScoredCircuit, format: str) -> list[str]:
    """What a format does not hold, a sentence each."""
    if format not in ("mib", "eap-ig"):
        return []
    lost = ["the file does not say where it comes from (study, model, task)"] if found.about else []
    if found.shared:
        shape = found.shape
        edges = f"{len(found.graph.edges)} edges became {len(found.apart().graph.edges)}"
        lost.append(
            f"{shape.key_value_heads} key/value heads are shared by {shape.heads} heads, and the format has a copy for "
            f"each: {edges}, and copies have equal parts of the score (their sum is exact, each alone is not known)"
        )
    if found.scores is None:
        lost.append("there are no scores; the format has 0 for every edge")
    return lost


def _facts(found: ScoredCircuit) -> dict[str, Any]:
    shape = found.shape
    return {
        "graph": {
            "layers": shape.layers,
            "heads": shape.heads,
            "key_value_heads": shape.key_value_heads,
            "hidden_size": shape.hidden_size,
            "parallel": shape.parallel,
        },
        "edges": len(found.graph.edges),
        "scored": found.scores is not None,
        "in_circuit": None if found.member is None else int(found.member.sum()),
        "about": dict(found.about),
        "notes": list(found.notes),
    }


def _described(found: ScoredCircuit) -> str:
    shape = found.shape
    shared = f", {shape.key_value_heads} key/value heads" if found.shared else ""
    scores = "scores" if found.scores is not None else "no scores"
    inside = "no circuit" if found.member is None else f"a circuit of {int(found.member.sum())} edges"
    return f"{shape.layers} layers, {shape.heads} heads{shared}; {len(found.graph.edges)} edges, {scores}, {inside}"


def _strongest(found: ScoredCircuit, top: int) -> Mapping[str, float]:
    import numpy as np

    if found.scores is None:
        return {}
    order = np.argsort(-np.abs(found.scores), kind="stable")[:top]
    return {found.graph.edges[number]: float(found.scores[number]) for number in order}


def _notes(console: Console, found: ScoredCircuit) -> None:
    for note in found.notes:
        console.say(f"  note: {note}")
