"""Infilling: a blanked word that only the clause around the blank determines, beside a distracting clause.

The word is fixed by a conjunction, what it does and where, of the blank's own clause; the other clause names another
action and place. In the natural bank the word is a thing, and the clause behind the blank says what is done with it.
Prompts put the sentence first and ask for the word last, so that an autoregressive and a masked diffusion model are
asked at the same position with the same information. `at_blank` asks for it where the blank is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from mechshift_core.tasks.banks import BUNDLED, Bank
from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, choose
from mechshift_core.tasks.blanks import ASKS, Ask, around_blank, at_blank
from mechshift_core.tasks.natural import infilling as natural
from mechshift_core.tasks.roles import Marked, filled

ACTIONS = tuple("sings swims runs sleeps".split())
PLACES = tuple("forest house river field".split())
PEOPLE = tuple("man woman girl boy".split())
WORDS = {
    (action, place): word
    for (action, place), word in zip(
        ((action, place) for action in ACTIONS for place in PLACES),
        "bird canary frog lark otter fish trout newt deer mouse heron horse bear cat duck cow".split(),
        strict=True,
    )
}
FRAMES = {
    "saw": "The {who} who {a1} in the {p1} saw the _ that {a2} in the {p2} :",
    "while": "In the {p1} the {who} {a1} while the _ {a2} in the {p2} :",
    "and": "The {who} {a1} in the {p1} and the _ {a2} in the {p2} :",
    "after": "The _ {a2} in the {p2} after the {who} {a1} in the {p1} :",
}
BANK = Bank(
    BUNDLED,
    FRAMES,
    {"people": PEOPLE, "actions": ACTIONS, "places": PLACES, "words": tuple(WORDS.values())},
    fine=True,
)
BLANK, QUESTION = "_", " :"
ROLES = {"a2": "action", "p2": "place"}
NATURAL_ROLES = {"verb": "action", "past": "action", "object": "object"}


class _Blanked:
    """What both banks have in common.

    Args:
        ask: Where the word is asked for.
    """

    name = "infilling"
    regime: Regime = "global"
    metric: Metric = "logit_difference"
    judged_by: Judgement = "argmax"
    summary = "the word that the clause after the blank determines; corrupted by swapping what that clause says"
    asks = ASKS
    bank: Bank

    def __init__(self, ask: Ask = "afterwards") -> None:
        self.ask = ask

    @property
    def banks(self) -> Mapping[str, _Blanked]:
        return {BUNDLED: Infilling(self.ask), natural.BANK.name: InfillingByCue(self.ask)}

    def asking(self, ask: Ask) -> _Blanked:
        """The task that asks for the word somewhere else."""
        return type(self)(ask)


class Infilling(_Blanked):
    """ "The man runs in the field and the _ sings in the forest :" -> bird; corrupted: the clause after the blank."""

    bank = BANK
    roles: tuple[str, ...] = ("left_context", "blank", "right_context", "action", "place")

    def _draw(self, rng: np.random.Generator) -> tuple[str, dict[str, str], str]:
        frame = choose(rng, tuple(FRAMES))
        action, place, other_action, other_place = (choose(rng, o) for o in (ACTIONS, PLACES, ACTIONS, PLACES))
        who = choose(rng, PEOPLE)
        words = {"who": who, "a1": other_action, "p1": other_place, "a2": action, "p2": place}
        return frame, words, f"infilling:{frame}:{who}:{other_action}:{other_place}:{action}:{place}"

    def exercise(self, rng: np.random.Generator) -> Exercise:
        frame, words, key = self._draw(rng)
        return Exercise(frame, filled(FRAMES[frame], words, {})[0], WORDS[words["a2"], words["p2"]], key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        frame, words, key = self._draw(rng)
        action, place = words["a2"], words["p2"]
        if rng.integers(2):
            swapped = choose(rng, tuple(a for a in ACTIONS if a != action)), place
        else:
            swapped = action, choose(rng, tuple(p for p in PLACES if p != place))
        clean, decisive = filled(FRAMES[frame], words, ROLES)
        corrupt, _ = filled(FRAMES[frame], {**words, "a2": swapped[0], "p2": swapped[1]}, {})
        text = CounterfactualText(
            frame,
            clean,
            corrupt,
            (WORDS[action, place],),
            (WORDS[swapped],),
            key,
            roles=(*decisive, *around_blank(clean, BLANK, QUESTION)),
        )
        return text if self.ask == "afterwards" else at_blank(text, BLANK, QUESTION)

    def is_correct(self, prompt: str, completion: str) -> bool:
        words = prompt[prompt.index("_") :].split()
        action = next(w for w in words if w in ACTIONS)
        place = next(w for w in words if w in PLACES)
        return completion == WORDS[action, place]


class InfillingByCue(_Blanked):
    """ "Mary used the ___ to cut the bread. The missing word is" -> knife; corrupted: what is done after the blank."""

    bank = natural.BANK
    roles: tuple[str, ...] = ("left_context", "blank", "right_context", "action", "object")

    def _draw(self, rng: np.random.Generator) -> tuple[str, str, str, str]:
        """(frame, name, thing, key)."""
        lists = self.bank.lists
        frame = choose(rng, tuple(self.bank.frames))
        who, thing = choose(rng, lists["names"]), choose(rng, lists["things"])
        return frame, who, thing, f"infilling:{frame}:{who}:{thing}"

    def exercise(self, rng: np.random.Generator) -> Exercise:
        frame, who, thing, key = self._draw(rng)
        return Exercise(frame, _sentence(frame, who, thing)[0], thing, key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        frame, who, thing, key = self._draw(rng)
        kind, _ = natural.CUES[thing]
        other = choose(rng, tuple(one for one, (of, _) in natural.CUES.items() if of != kind))
        clean, decisive = _sentence(frame, who, thing)
        text = CounterfactualText(
            frame,
            clean,
            _sentence(frame, who, other)[0],
            (thing,),
            (other,),
            key,
            roles=(*decisive, *around_blank(clean, natural.BLANK, natural.QUESTION)),
        )
        return text if self.ask == "afterwards" else at_blank(text, natural.BLANK, natural.QUESTION)

    def is_correct(self, prompt: str, completion: str) -> bool:
        behind = prompt[prompt.index(natural.BLANK) :]
        cued = (thing for thing, (_, cue) in natural.CUES.items() if re.search(rf"\b{cue['object']}\b", behind))
        return completion in cued


def _sentence(frame: str, who: str, thing: str) -> Marked:
    """A sentence with the cue of a thing, and the question."""
    _, cue = natural.CUES[thing]
    return filled(f"{natural.FRAMES[frame]}{natural.QUESTION}", {"who": who, **cue}, NATURAL_ROLES)
