"""Subject-verb agreement (Finlayson et al. 2021, arXiv 2106.06087; Newman et al. 2021, arXiv 2104.09635).

The verb that comes next agrees with the subject, whatever stands between them: another noun (the attractor, of the
same number or the other), alone or in a relative clause. Verbs that are not one token in both numbers are left out;
prompts whose subject has more tokens in one number than in the other are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from mechshift_core.tasks.banks import BUNDLED, NATURAL, Bank
from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, choose
from mechshift_core.tasks.natural import sva as natural
from mechshift_core.tasks.roles import filled

SINGULAR, PLURAL = 0, 1
NUMBERS = ("singular", "plural")
PEOPLE = tuple(
    "teacher student driver author actor officer player parent artist writer leader worker friend brother soldier "
    "customer member guest girl boy".split()
)
THINGS = tuple(
    "car book picture song letter house table window computer tree game image paper door photo tool engine building "
    "report key".split()
)
ADJECTIVES = tuple("old new good small big other first last best great".split())
OPENINGS = ("Today", "Every day", "In this place", "At that time", "As before", "Here", "At the end", "In the morning")
PREPOSITIONS = ("near", "behind", "from", "with", "by", "next to", "above", "under")
PRESENT = tuple("know/knows see/sees want/wants need/needs make/makes take/takes use/uses find/finds".split())
"""What the attractor does, plural and singular."""
PAST = tuple("knew saw wanted needed made took used found".split())
"""What the subject of a relative clause did: the same in both numbers."""
VERBS = tuple(
    "are/is were/was have/has do/does seem/seems look/looks need/needs make/makes take/takes come/comes give/gives "
    "become/becomes remain/remains appear/appears show/shows".split()
)
FRAMES = {
    "simple": "{opening} the {adjective} {subject}",
    "prepositional": "The {subject} {preposition} the {attractor}",
    "relative-object": "The {subject} {that} the {attractor} {present}",
    "relative-subject": "The {subject} {that} {past} the {attractor}",
}
ROLES = {
    "adjective": "adjective", "subject": "subject", "preposition": "preposition", "that": "that",
    "attractor": "attractor", "past": "verb",
}  # fmt: skip

BANK = Bank(
    BUNDLED,
    FRAMES,
    {
        "opening": OPENINGS,
        "adjective": ADJECTIVES,
        "subject": (*PEOPLE, *THINGS),
        "preposition": PREPOSITIONS,
        "past": PAST,
        "people": PEOPLE,
        "things": THINGS,
        "present": PRESENT,
        "verbs": VERBS,
    },
    fine=True,
)
SLOTS = ("opening", "adjective", "subject", "preposition", "past")
"""Slots besides the attractor and what it does, in the order in which they are drawn."""
WHO = {"relative-subject": True, "relative-object": False}
"""In a relative clause it is people who want, and things that are wanted."""


class SubjectVerbAgreement:
    """ "The books that the teacher wants" -> are, have, ...; corrupted: the subject is singular."""

    name = "sva"
    regime: Regime = "local"
    metric: Metric = "probability_difference"
    judged_by: Judgement = "metric"
    summary = "verbs that agree with a plural subject against singular ones; corrupted by a singular subject"
    roles: tuple[str, ...] = ("adjective", "subject", "preposition", "that", "attractor", "verb")

    def __init__(self, bank: Bank = BANK) -> None:
        self.bank = bank
        self._who: Mapping[str, bool] = {BUNDLED: WHO, NATURAL: natural.WHO}[bank.name]
        self._plural, self._singular = zip(*(verb.split("/") for verb in bank.lists["verbs"]), strict=True)

    @property
    def banks(self) -> Mapping[str, SubjectVerbAgreement]:
        return {bank.name: SubjectVerbAgreement(bank) for bank in (BANK, natural.BANK)}

    def _draw(self, rng: np.random.Generator) -> tuple[str, str, dict[str, str], str]:
        """(frame, template, words for the frame's slots with the subject in the singular, key)."""
        lists = self.bank.lists
        frame = choose(rng, tuple(self.bank.frames))
        people = self._who[frame] if frame in self._who else bool(rng.integers(2))
        group, other = ("people", "things") if people else ("things", "people")
        number = int(rng.integers(2))
        attractor, present = choose(rng, lists[other]), choose(rng, lists["present"])
        words = {
            slot: choose(rng, lists[group] if slot == "subject" else lists[slot]) for slot in SLOTS if slot in lists
        }
        words |= {
            "that": "that",
            "attractor": _noun(attractor, number),
            "present": present.split("/")[number == SINGULAR],
        }
        marks = [NUMBERS[number]] if "{attractor}" in self.bank.frames[frame] else []
        # The numbers of the nouns are no part of the combination: it is held out in all of them.
        text, _ = filled(self.bank.frames[frame], {**words, "attractor": attractor, "present": present}, {})
        return frame, self.bank.template(frame, *marks), words, f"sva:{text}"

    def exercise(self, rng: np.random.Generator) -> Exercise:
        frame, template, words, key = self._draw(rng)
        number = int(rng.integers(2))
        prompt, _ = filled(self.bank.frames[frame], {**words, "subject": _noun(words["subject"], number)}, {})
        return Exercise(template, prompt, choose(rng, self._plural if number == PLURAL else self._singular), key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        frame, template, words, key = self._draw(rng)
        text = self.bank.frames[frame]
        clean, spans = filled(text, {**words, "subject": _noun(words["subject"], PLURAL)}, ROLES)
        return CounterfactualText(
            template,
            clean,
            filled(text, words, {})[0],
            self._plural,
            self._singular,
            key,
            roles=tuple(span for span in spans if span.stop < len(clean)),
            forms=True,
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        nouns = (*self.bank.lists["people"], *self.bank.lists["things"])
        numbers = {_noun(noun, number): number for noun in nouns for number in (SINGULAR, PLURAL)}
        number = next((numbers[word] for word in re.findall(r"\w+", prompt) if word in numbers), None)
        return number is not None and completion in (self._plural if number == PLURAL else self._singular)


def _noun(noun: str, number: int) -> str:
    return f"{noun}s" if number == PLURAL else noun
