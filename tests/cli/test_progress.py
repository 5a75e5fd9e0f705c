"""How long a stretch still takes, in words."""

from __future__ import annotations

import pytest

from mechshift_core.cli.progress import TimeLeft
from mechshift_core.durations import roughly


def test_the_time_left_follows_from_the_steps_of_this_stretch() -> None:
    now = [0.0]
    left = TimeLeft(lambda: now[0])
    assert left.words == ""

    def told(at: float, done: int, total: int) -> str:
        now[0] = at
        left.told(done, total)
        return left.words

    assert told(0, 40, 100) == ""  # those were there already
    assert told(5, 45, 100) == ""  # too early to tell
    assert told(60, 50, 100) == "about 5 min left"
    assert told(60, 50, 1000) == ""  # another stretch
    assert told(120, 52, 1000) == "about 8 h left"
    assert told(130, 999, 1000) == "less than a minute left"
    assert told(131, 1000, 1000) == ""
    assert told(132, 0, 1000) == ""


def test_lines_say_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from mechshift_core.cli import progress
    from mechshift_core.cli.console import Console

    monkeypatch.setattr(progress, "EARLY", -1.0)
    with progress.progress_on(Console()) as told:
        assert told is not None
        for done in (0, 1, 2):
            told("cells", done, 2)
    assert capsys.readouterr().err.splitlines() == [
        "[0/2] cells", "[1/2] cells (less than a minute left)", "[2/2] cells",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "less than a minute"), (59, "less than a minute"), (60, "about 1 min"), (5399, "about 90 min")),
        *((5400, "about 2 h"), (100_000, "about 28 h"), (259_200, "about 3 days")),
    ],
)
def test_times_are_told_in_one_way(seconds: float, words: str) -> None:
    assert roughly(seconds) == words
