"""Indirect object identification (Wang et al. 2023, arXiv 2211.00593), with the third-name corruption."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from mechshift_core.tasks.banks import BUNDLED, Bank
from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, choose
from mechshift_core.tasks.natural import ioi as natural
from mechshift_core.tasks.roles import filled, following

NAMES = tuple("Mary John Tom Anna Bob Lisa Paul Emma Jack Kate Mark Lucy Adam Sara Alan Jane Luke Rose Dan Amy".split())
PLACES = tuple("store park school office garden station".split())
OBJECTS = tuple("drink book ring ball key gift".split())
FRAMES = {
    "went": "When {a} and {b} went to the {place}, {s} gave a {thing} to",
    "visited": "After {a} and {b} visited the {place}, {s} sent a {thing} to",
    "were": "While {a} and {b} were at the {place}, {s} handed the {thing} to",
    "talked": "Then {a} and {b} had a long talk at the {place} and {s} gave the {thing} to",
}
BANK = Bank(BUNDLED, FRAMES, {"names": NAMES, "places": PLACES, "things": OBJECTS}, fine=True)
ROLES = {"ABBA": {"a": "io", "b": "s1"}, "BABA": {"a": "s1", "b": "io"}}


class IndirectObject:
    """When Mary and John went to the store, John gave a drink to -> Mary; corrupted: the second John is a third."""

    name = "ioi"
    regime: Regime = "local"
    metric: Metric = "logit_difference"
    judged_by: Judgement = "argmax"
    summary = "the name that is not repeated; corrupted by replacing the repeated subject with a third name"
    roles: tuple[str, ...] = ("io", "s1", "s1+1", "s2", "verb", "place", "object")

    def __init__(self, bank: Bank = BANK) -> None:
        self.bank = bank

    @property
    def banks(self) -> Mapping[str, IndirectObject]:
        return {bank.name: IndirectObject(bank) for bank in (BANK, natural.BANK)}

    def _draw(self, rng: np.random.Generator) -> tuple[str, str, dict[str, str], str, str]:
        """(frame, order of the names, words for the frame's slots, indirect object, a third name)."""
        names = self.bank.lists["names"]
        frame = choose(rng, tuple(self.bank.frames))
        order = choose(rng, ("ABBA", "BABA"))
        indirect, subject, other = (names[i] for i in rng.permutation(len(names))[:3])
        a, b = (indirect, subject) if order == "ABBA" else (subject, indirect)
        place, thing = choose(rng, self.bank.lists["places"]), choose(rng, self.bank.lists["things"])
        return frame, order, {"a": a, "b": b, "s": subject, "place": place, "thing": thing}, indirect, other

    def exercise(self, rng: np.random.Generator) -> Exercise:
        frame, order, words, indirect, _ = self._draw(rng)
        prompt, _ = filled(self.bank.frames[frame], words, {})
        return Exercise(self.bank.template(frame, order), prompt, indirect, _key(words))

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        frame, order, words, indirect, other = self._draw(rng)
        text, roles = self.bank.frames[frame], {**ROLES[order], "s": "s2", "place": "place", "thing": "object"}
        clean, spans = filled(text, words, roles)
        corrupt, _ = filled(text, {**words, "s": other}, {})
        after = (following(clean, spans, "s1", "s1+1"), following(clean, spans, "s2", "verb"))
        template = self.bank.template(frame, order)
        return CounterfactualText(
            template, clean, corrupt, (indirect,), (words["s"],), _key(words), roles=(*spans, *after)
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        names = [word for word in re.findall(r"\w+", prompt) if word in self.bank.lists["names"]]
        return len(names) == 3 and completion == next(n for n in names[:2] if n != names[2])


def _key(words: dict[str, str]) -> str:
    return "ioi:" + "+".join(sorted((words["a"], words["b"])))
