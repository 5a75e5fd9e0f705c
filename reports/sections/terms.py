"""The words that the page uses without explaining them under every figure."""

from __future__ import annotations

from reports.data import ReportData
from reports.sections.base import Section
from reports.templating import render_template

TERMS = (
    ("edge", "a way from what a head or an MLP writes (or the input) to what a later one (or the output) reads"),
    ("attribution", "an estimate of what it costs the metric if an edge carries what it would on the corrupted prompt"),
    ("circuit", "the edges of largest attribution, mean over prompts"),
    ("metric", "a number read from the logits of a prompt: mostly how much the model prefers the answers to the foils"),
    ("foil", "a wrong answer that the right one is held against"),
    ("before, after", "the two models of a pair: the parent, and what post-training made of it"),
    ("treatment", "a pair with the post-training that is asked about"),
    ("control", "a pair with other post-training, as long: what training alone does"),
    ("unrelated", "a pair of models that share no training: what any two models have in common"),
    ("interval", "would hold the true value in so many of 100 studies like this one; over the units that are named"),
    ("margin", "a difference that was declared negligible before the results"),
    ("p, corrected", "chance of data as far from the null, allowing for the number of hypotheses"),
    ("supported", "the claim's test is below the level: the data show it"),
    ("refuted", "the opposite of the claim is shown, by as strict a test"),
    ("inconclusive", "neither is shown; that is no evidence for either"),
    ("not estimable", "the data do not allow an honest estimate; the reason stands with the finding"),
    ("chance", "what two circuits of the same make-up share if nothing else connects them"),
    ("ceiling", "how well a model agrees with itself on other prompts: no two models can agree better"),
)
"""Term -> meaning, from the models to the verdicts."""


def section(data: ReportData) -> Section:
    """The list of terms; the same on every page."""
    return Section(id="terms", title="Terms", body=render_template("terms", terms=TERMS))
