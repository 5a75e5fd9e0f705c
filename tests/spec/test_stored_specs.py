"""The spec of a finished run is read where its results can be shown, also where this version would not run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from spec_study import STUDY
from test_spec_problems import CASES

from mechshift_core.spec import Spec, SpecError, load_spec, load_stored_spec

SHIFTED = STUDY.replace("id: rewired\n    measure: retention", "id: rewired\n    measure: depth_slope")
CHOSEN = SHIFTED + "sensitivity: {top_k: [10, 20], location: [trimmed]}\n"
RANDOM = "statistics: {units: {seed: random}}\nsensitivity: {interval: [percentile], top_k: [10, 20]}\n"


def stored(text: str) -> Path:
    Path("spec.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    return Path("spec.yaml")


@pytest.mark.usefixtures("folder")
def test_a_spec_that_this_version_would_run_is_read_as_it_is() -> None:
    path = stored(CHOSEN)
    found = load_stored_spec(path)
    assert (found.refused, found.left_out) == ((), ())
    assert found == load_spec(path) and found.text == CHOSEN


@pytest.mark.usefixtures("folder")
def test_a_choice_that_is_refused_by_now_is_left_out_and_said() -> None:
    found = load_stored_spec(stored(STUDY + RANDOM))
    assert found.left_out == ("interval",)
    assert found.sensitivity.interval == () and found.sensitivity.values("top_k") == (10, 20)
    (said,) = found.refused
    assert said.startswith("sensitivity.interval: with random training seeds") and said.endswith("; leave it out")
    assert found.text == STUDY + RANDOM, "the text stays as it was run"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("old", "new", "choice", "left"),
    [
        ("[10, 20]", "[10, 0, 20]", "top_k", (10, 20)),
        ("[10, 20]", "[10, 10, 20]", "top_k", (10, 20)),
        ("[10, 20]", "[10, 30, ten, 20]", "top_k", (10, 30, 20)),
        ("[10, 20]", "10", "top_k", ()),
        ("[trimmed]", "[mean, trimmed]", "location", ("trimmed",)),
        ("[trimmed]", "[median]", "location", ()),
        ("top_k: [10, 20]", "splits: [3]", "splits", ()),
    ],
)
def test_of_a_choice_the_values_that_are_known_stay(old: str, new: str, choice: str, left: tuple[object, ...]) -> None:
    text = CHOSEN.replace(old, new)
    assert text != CHOSEN
    found = load_stored_spec(stored(text))
    assert found.sensitivity.values(choice) == left
    assert found.left_out == (choice,) and found.refused


@pytest.mark.usefixtures("folder")
def test_what_says_how_to_run_or_claims_by_what_is_not_known_is_left_out() -> None:
    text = STUDY.replace("measure: retention\n    where", "measure: forgotten\n    where")
    text += "execution: {workers: 99999999, device: abacus}\nreport: {interactive: perhaps}\n"
    found = load_stored_spec(stored(text))
    assert [one.id for one in found.hypotheses] == ["rewired"]
    assert found.execution.device == "auto"
    places = [line.partition(": ")[0] for line in found.refused]
    assert places == ["hypotheses.0.measure", "execution.device", "execution.workers", "report.interactive"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("{name: ioi, examples: 100}", "{name: ioi, examples: 100001}", lambda spec: spec.tasks[0].examples == 100001),
        ("[50, 100, 200]", "[50, 100, 200], splits: 0", lambda spec: spec.measures.overlap.splits == 0),
        ("[50, 100, 200]", "[50, 0, 200]", lambda spec: spec.measures.overlap.top_k == (50, 0, 200)),
        ("method: eap-ig, steps: 5", "method: eap-of-old", lambda spec: spec.interventions[0].method == "eap-of-old"),
        ("name: study", "name: study\nstatistics: {confidence: 1.5}", lambda spec: spec.statistics.confidence == 1.5),
    ],
)
def test_a_value_that_the_schema_takes_no_more_stays_as_it_was_run(
    old: str, new: str, value: Callable[[Spec], bool]
) -> None:
    text = STUDY.replace(old, new, 1)
    path = stored(text)
    with pytest.raises(SpecError):
        load_spec(path, check_files=False)
    found = load_stored_spec(path)
    assert value(found) and len(found.refused) == 1 and found.left_out == ()
    assert found.text == text


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", CASES)
def test_every_mistake_is_read_over_and_said_or_is_the_error_that_it_was(case: str) -> None:
    old, new, *_ = CASES[case]
    path = stored(STUDY.replace(old, new, 1))
    try:
        load_spec(path, check_files=False)
        problems: tuple[str, ...] = ()
    except SpecError as error:
        problems = tuple(one.message for one in error.problems)
    try:
        found = load_stored_spec(path)
    except SpecError as error:
        assert tuple(one.message for one in error.problems) == problems != ()
        return
    assert bool(found.refused) == bool(problems)
    assert all(any(line.endswith(problem) for line in found.refused) for problem in problems)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "case",
    ["misspelt key", "unknown task", "blank before an autoregressive model", "duplicate hypothesis", "no blank"],
)
def test_rules_beyond_the_schema_and_unknown_keys_never_hide_results(case: str) -> None:
    old, new, *_ = CASES[case]
    assert load_stored_spec(stored(STUDY.replace(old, new, 1))).refused
