"""Greater-Than (Hanna et al. 2023, arXiv 2305.00586): a later year of the same century.

The prompt ends with the century. Where two digits are a token, all hundred years are compared; where every digit is a
token, the tens digit is read: greater ones than the start year's are right, smaller ones wrong, and the same one is
neither, as it depends on the next digit. Prompts whose start year is split in another way are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from mechshift_core.tasks.banks import BUNDLED, Bank
from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, TwoDigits, choose
from mechshift_core.tasks.natural import greater_than as natural
from mechshift_core.tasks.roles import filled

NOUNS = tuple("war trip project trial feast journey".split())
CENTURIES = tuple(str(century) for century in range(11, 19))
FRAMES = {
    "lasted": "The {noun} lasted from the year {century}{year} to the year {again}",
    "began": "The {noun} began in {century}{year} and ended in {again}",
    "until": "From {century}{year} on, the {noun} went on until {again}",
}
BANK = Bank(BUNDLED, FRAMES, {"nouns": NOUNS, "centuries": CENTURIES}, fine=True)


class GreaterThan:
    """ "The war lasted from the year 1732 to the year 17" -> 33..99; corrupted: the start year is 01."""

    name = "greater_than"
    regime: Regime = "local"
    metric: Metric = "probability_difference"
    judged_by: Judgement = "metric"
    summary = "a year after the start year (or its tens digit); corrupted by the start year 01"
    roles: tuple[str, ...] = ("noun", "century", "start_year")

    def __init__(self, bank: Bank = BANK) -> None:
        self.bank = bank

    @property
    def banks(self) -> Mapping[str, GreaterThan]:
        return {bank.name: GreaterThan(bank) for bank in (BANK, natural.BANK)}

    def _draw(self, rng: np.random.Generator) -> tuple[str, dict[str, str], int, str]:
        frame = choose(rng, tuple(self.bank.frames))
        noun, century = choose(rng, self.bank.lists["nouns"]), choose(rng, self.bank.lists["centuries"])
        start = int(rng.integers(2, 99))
        words = {"noun": noun, "century": century, "year": f"{start:02d}", "again": century}
        return frame, words, start, f"greater_than:{noun}:{century}:{start}"

    def exercise(self, rng: np.random.Generator) -> Exercise:
        frame, words, start, key = self._draw(rng)
        end = int(rng.integers(start + 1, 100))
        return Exercise(frame, filled(self.bank.frames[frame], words, {})[0], f"{end:02d}", key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        frame, words, start, key = self._draw(rng)
        text = self.bank.frames[frame]
        # The century that stands last is where the prompt ends.
        clean, spans = filled(text, words, {"noun": "noun", "century": "century", "year": "start_year"})
        return CounterfactualText(
            frame,
            clean,
            filled(text, {**words, "year": "01"}, {})[0],
            tuple(f"{year:02d}" for year in range(start + 1, 100)),
            tuple(f"{year:02d}" for year in range(start + 1)),
            key,
            joiner="",
            roles=spans,
            number=TwoDigits(
                next(span for span in spans if span.role == "start_year"),
                greater=tuple(str(digit) for digit in range(start // 10 + 1, 10)),
                smaller=tuple(str(digit) for digit in range(start // 10)),
            ),
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        years = re.search(r"\d\d(\d\d)", prompt)
        return years is not None and re.fullmatch(r"\d\d", completion) is not None and int(completion) > int(years[1])
