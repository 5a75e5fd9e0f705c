"""How `run`, `analyze` and `check` tell findings: in words and colour to people, with all digits to programs."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from stored_runs import equivalent, finding, findings, undefined, write_run
from studies import write_study

from mechshift_core.cli import verdicts
from mechshift_core.cli.console import Console
from mechshift_core.cli.main import main

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w])")


def numbers_in(content: Any) -> list[float]:
    """Every number of plain data, those in its texts included, and the lengths of its lists."""
    if isinstance(content, dict):
        return [number for value in content.values() for number in numbers_in(value)]
    if isinstance(content, list):
        return [len(content), *(number for value in content for number in numbers_in(value))]
    if isinstance(content, str):
        return [float(number) for number in NUMBER.findall(content)]
    return [float(content)] if isinstance(content, int | float) and not isinstance(content, bool) else []


def missing(text: str, content: Any) -> list[str]:
    """The numbers of a text that are not in the data, rounded as the text has them."""
    known = numbers_in(content)

    def there(shown: str) -> bool:
        digits = len(shown.partition(".")[2]) if "e" not in shown else None
        as_shown = (f"{number:.3g}" if digits is None else f"{number:.{digits}f}" for number in known)
        return any(float(one) == float(shown) for one in as_shown) or any(f"{one:.3g}" == shown for one in known)

    return [shown for shown in NUMBER.findall(text.replace("\N{MINUS SIGN}", "-")) if not there(shown)]


@pytest.mark.long
def test_every_number_of_the_text_is_in_the_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    study = write_study(tmp_path / "study")
    assert main(["run", str(study), "--quiet"]) == 0
    capsys.readouterr()
    for command in (["run", str(study)], ["analyze", "runs/random-study"]):
        assert main(command) == 0
        text = capsys.readouterr().out
        assert main([*command, "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert missing(text, content) == []
        assert [one["id"] for one in content["hypotheses"]] == ["kept", "earlier"]
        assert "prompts" in text and "The circuit is kept." in text
    assert missing("0.123 [4.567, 8]", {"a": [0.1234, "4.5671"], "b": 8}) == []
    assert missing("0.124 9", {"a": [0.1234]}) == ["0.124", "9"]


def test_a_check_tells_claims_and_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("run"), findings(finding(), equivalent(), undefined()))
    assert main(["check", "run", "--baseline", "b.json", "--update", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["check", "run", "--baseline", "b.json"]) == 0
    text = capsys.readouterr().out
    units = "n = 100 prompts, 1 task, 1 seed"
    assert text.splitlines()[:2] == [
        f"supported      lower                    -0.400 [-0.540, -0.260]  p = 2e-07 (holm)  {units}",
        "               It is lower.",
    ]
    assert "not estimable  none                     no ceiling" in text
    assert main(["check", "run", "--baseline", "b.json", "--json"]) == 0
    assert missing(text, json.loads(capsys.readouterr().out)) == []


@pytest.mark.parametrize("plain", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_verdicts_have_colours_only_where_they_are_wanted(
    plain: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color"} | plain).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    verdicts.tell(Console(), [finding(claim="a\x1b[31mb")])
    shown = capsys.readouterr().out
    assert ("\x1b[32msupported" in shown) == (not plain)
    assert "a\x1b[31mb" not in shown
    verdicts.tell(Console(json=True), [finding()])
    assert capsys.readouterr().out == ""


def test_quiet_leaves_the_verdict_of_every_finding(capsys: pytest.CaptureFixture[str]) -> None:
    verdicts.tell(Console(quiet=True), [finding(), undefined()])
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "supported lower -0.400 [-0.540, -0.260] p = 2e-07 (holm) n = 100 prompts, 1 task, 1 seed",
        "not estimable none no ceiling n = 100 prompts, 1 task, 1 seed",
    ]


def test_a_refutation_has_the_p_that_it_rests_on() -> None:
    refuted = finding(verdict="refuted", p_corrected=1.0, p_opposite_corrected=0.0004)
    assert "  p of the opposite = 0.0004 (holm)  n = " in verdicts.numbers(refuted)
    assert "  p = 1 (holm)  n = " in verdicts.numbers(finding(verdict="inconclusive", p_corrected=1.0))
    assert verdicts.as_json([refuted])[0]["p_opposite_corrected"] == 0.0004


def test_an_equivalence_has_the_interval_that_decides_it() -> None:
    told = equivalent(inner_low=-0.125, inner_high=0.0625, confidence=0.95)
    assert " [-0.125, 0.062] (90%)  p = " in verdicts.numbers(told)
    assert verdicts.as_json([told])[0]["inner_high"] == 0.0625
    assert "%" not in verdicts.numbers(finding())
