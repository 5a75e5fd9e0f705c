"""A wrong command line: each option of each command says where, what it takes, what came, and where to read on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer

from mechshift_core.cli import usage
from mechshift_core.cli.main import app, main

Case = tuple[tuple[str, ...], str, str, str]
"""Words of the command, words that give the value, the value, and what is expected."""


BUILT = typer.main.get_command(app)


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands are put together once, not for each call."""
    monkeypatch.setattr("mechshift_core.cli.main.app", BUILT)


def commands(group: Any = BUILT, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        yield from [((*words, name), command)] if inner is None else commands(command, (*words, name))


def annotations(command: Any) -> Iterator[tuple[Any, Any]]:
    """Each parameter that a user gives, with its annotation."""
    declared = inspect.signature(inspect.unwrap(command.callback)).parameters
    for parameter in command.params:
        if parameter.name in declared:
            yield parameter, usage.annotation_of(command.callback, parameter.name)


def wrong(annotation: Any) -> Iterator[tuple[str, str]]:
    """Values that a type does not take, and a part of what is then said to be expected."""
    kind, info = usage.kind_of(annotation), annotation.__metadata__[0]
    if get_origin(kind) is Literal:
        yield from ((value, repr(get_args(kind)[-1])) for value in ("banana", ""))
    elif kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        yield from ((value, noun) for value in ("banana", "", "1e", "ten", "\x1b[31m"))
        if kind is int:
            yield "1.5", noun
        if info.min is not None:
            yield str(info.min - 1), str(info.min)
        if info.max is not None:
            yield str(info.max + 1), str(info.max)


CASES: list[tuple[tuple[str, ...], str, str, str]] = [
    (words, parameter.opts[-1] if parameter.param_type_name == "option" else "", value, said)
    for words, command in commands()
    for parameter, annotation in annotations(command)
    for value, said in wrong(annotation)
]


def test_every_type_that_an_option_has_is_one_that_is_told() -> None:
    found = {
        get_origin(kind) or kind
        for _, command in commands()
        for _, annotation in annotations(command)
        for kind in (usage.kind_of(annotation),)
    }
    assert found == {Literal, int, float, str, bool, Path}
    assert {words for words, *_ in CASES} >= {("run",), ("try",), ("score",), ("check",), ("circuit", "export")}
    assert len(CASES) > 100


@pytest.mark.parametrize(("words", "option", "value", "said"), CASES)
def test_a_value_of_another_type_is_refused_with_what_is_expected(
    words: tuple[str, ...], option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"{option}={value}"] if option.startswith("--") else [value]
    assert main([*words, *given]) == 2
    captured = capsys.readouterr()
    path = " ".join(("mechshift", *words))
    (line,) = captured.err.splitlines()
    assert line.startswith(f"{path}: {option}")
    assert ": expected " in line and said in line.partition(": expected ")[2].partition(", got ")[0]
    assert f", got {value!r}" in line
    assert line.endswith(f"; `{path} --help` says more")
    assert captured.out == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["tri"], "mechshift: no such command 'tri' (did you mean 'try'?); `mechshift --help` says more"),
        (
            ["try"],
            "mechshift try: SPEC: expected a path (Spec file), got nothing; `mechshift try --help` says more",
        ),
        (
            ["check", "runs/a"],
            "mechshift check: --baseline: expected a path (Baseline file [JSON]), got nothing; "
            "`mechshift check --help` says more",
        ),
        (
            ["run", "a.yaml", "--limt", "3"],
            "mechshift run: there is no option --limt (did you mean '--limit'?); `mechshift run --help` says more",
        ),
        (
            ["list", "--jso"],
            "mechshift list: there is no option --jso (did you mean '--json'?); `mechshift list --help` says more",
        ),
        (
            ["init", "--out"],
            "mechshift init: option '--out' requires an argument; `mechshift init --help` says more",
        ),
        (
            ["score", "a", "--bos=3"],
            "mechshift score: option '--bos' does not take a value; `mechshift score --help` says more",
        ),
        (
            ["calibrate", "--shift", "1", "--shift", "far", "a.yaml"],
            "mechshift calibrate: --shift: expected a number, got 'far'; `mechshift calibrate --help` says more",
        ),
        (
            ["--quiet", "pairs", "evaluate", "x", "--seed", "-1"],
            "mechshift pairs evaluate: --seed: expected a whole number of at least 0, got '-1'; "
            "`mechshift pairs evaluate --help` says more",
        ),
    ],
)
def test_other_mistakes_are_told_in_the_same_form(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize("given", [[], ["models"], ["circuit"]])
def test_where_a_command_is_missing_the_help_says_which_there_are(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: mechshift") and "Commands:" in shown


def inputs() -> Iterator[tuple[str, ...]]:
    """Each command that reads a path which it is given first, called with one that is not there."""
    for words, command in commands():
        found = [(one, usage.kind_of(annotation)) for one, annotation in annotations(command)]
        first = [(one, kind) for one, kind in found if one.param_type_name == "argument"]
        if words[0] in ("submit",) or not first or first[0][1] is not Path:
            continue
        needed = [
            word
            for one, kind in found
            if one.param_type_name == "option" and one.required
            for word in (one.opts[-1], get_args(kind)[-1] if get_origin(kind) is Literal else "x")
        ]
        yield (*words, "no-such-thing", *needed)


@pytest.mark.parametrize("given", list(inputs()), ids=" ".join)
def test_a_path_that_is_not_there_is_named(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(given) == 2
    captured = capsys.readouterr()
    assert "no-such-thing" in captured.err + captured.out
    assert "Traceback" not in captured.err and "internal error" not in captured.err
