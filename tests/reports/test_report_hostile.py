from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from report_markup import read

from reports import CircuitFacts, ReportData, render
from reports.templating import visible
from stats.findings import Findings

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "style": "</style><style>*{display:none}</style>",
    "comment": "<!-- --><img src=x onerror=alert(1)>",
    "quotes": '" onmouseover="alert(1)" x=\'y\' `',
    "template": "{{ data.title }}{% raw %}",
    "entities": "&lt;b&gt; &amp;",
    "cdata": "]]><svg onload=alert(1)>",
}


def poisoned(run: ReportData, text: str) -> ReportData:
    """The run with the text wherever a spec, a prompt or a name can put it."""
    frames = {}
    named_tables = ("examples", "overlap", "layers", "components", "indices", "edges", "faithfulness", "edge_roles")
    for name in (*named_tables, "lens", "denoising", "neurons", "shapley", "shapley_orders"):
        frame = run.tables[name]
        if name == "components":
            frame = frame.filter(pl.col("layer") < 2).with_columns(
                method=pl.when(pl.col("method") == "attribution").then(pl.col("method")).otherwise(pl.lit(text)),
                token_role=pl.when(pl.col("token_role").is_null()).then(None).otherwise(pl.lit(text)),
            )
        named = ("pair", "task", "regime", "model", "clean", "corrupt", "answer", "foil", "template", "index")
        named += ("intervention", "ablation", "status", "top", "tokens", "components")
        if name == "edge_roles":
            named += ("token_role", "source", "target")
        frames[name] = frame.with_columns(pl.lit(text).alias(column) for column in named if column in frame.columns)
    frames["edges"] = frames["edges"].filter(pl.col("rank") < 4).with_columns(source=pl.lit(text))
    found = replace(
        run.findings.hypotheses[0], id=text, claim=text, estimand=text, message=text, method=text, measure=text
    )
    estimate = replace(run.findings.estimates[0], task=text, pair=text, measure=text, message=text)
    shared = next(one for one in run.findings.estimates if one.measure == "neuron_overlap")
    shared = replace(shared, task=text, pair=text, message=text)
    return replace(
        run,
        title=text,
        name=text,
        version=text,
        findings=Findings(name=text, hypotheses=(found,), estimates=(estimate, shared)),
        tables=frames,
        provenance={
            text: {text: [text, {text: text}]},
            "execution": {"weights_dtype": text},
            "batching": {"sizes": [text], "out_of_memory": [{"model": text, "task": text, "sizes": [text]}]},
        },
        spec_text=text,
        methods=replace(
            run.methods,
            index=text,
            correction=text,
            packages={text: text},
            circuits=(CircuitFacts(name=text, ablation=text, held_out=False),),
        ),
        task_counts=[replace(run.task_counts[1], task=text, pair=text)],
        failures=(text,),
    )


@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=() if one in ("script", "quotes") else pytest.mark.long) for one in HOSTILE]
)
def test_text_from_spec_and_prompts_stays_text(run: ReportData, kind: str) -> None:
    text = HOSTILE[kind]
    tree = read(render(poisoned(run, text)))
    tags = {element.tag for element in tree.walk()}
    assert not tags & {"script", "img", "iframe"}
    assert len(tree.all("style")) == 1
    assert not [name for element in tree.walk() for name in element.attributes if name.startswith("on")]
    assert tree.all("h1")[0].words().split() == text.split()
    assert " ".join(tree.all("pre")[0].words().split()) == " ".join(text.split())
    drawings = [svg for name in ("chart", "matrix") for svg in tree.all("svg", class_=name)]
    labels = [svg.get("aria-label") or "" for svg in drawings if svg.get("role") == "img"]
    assert labels and all(text in label for label in labels)


@pytest.mark.long
def test_direction_marks_controls_and_lone_surrogates_become_visible(run: ReportData) -> None:
    page = render(poisoned(run, "user\u202etxt.exe\x00\ud800\u2066 עברית"))
    assert not {"\u202e", "\x00", "\ud800", "\u2066"} & set(page)
    assert "user⟨U+202E⟩txt.exe⟨U+0000⟩⟨U+D800⟩⟨U+2066⟩ עברית" in page
    page.encode("utf-8")


def test_line_breaks_tabs_and_joiners_are_kept() -> None:
    assert visible("a\r\nb\tc\u200dd") == "a\nb\tc\u200dd"


@pytest.mark.long
def test_a_very_long_word_is_shown_whole(run: ReportData) -> None:
    word = "x" * 5000
    tree = read(render(poisoned(run, word)))
    assert tree.all("h1")[0].words().strip() == word
