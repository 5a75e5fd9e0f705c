"""Infilling: a blanked word that only the clause around the blank determines, beside a distracting clause.

The word is fixed by a conjunction, what it does and where, of the blank's own clause; the other clause names another
action and place. Prompts put the sentence first and ask for the word last, so that an autoregressive and a masked
diffusion model are asked at the same position with the same information.
"""

from __future__ import annotations

import numpy as np

from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, choose
from mechshift_core.tasks.roles import RoleSpan, filled

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


class Infilling:
    """ "The man runs in the field and the _ sings in the forest :" -> bird; corrupted: the clause after the blank."""

    name = "infilling"
    regime: Regime = "global"
    metric: Metric = "logit_difference"
    judged_by: Judgement = "argmax"
    summary = "the word that the clause after the blank determines; corrupted by swapping that clause's action or place"
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
        clean, decisive = filled(FRAMES[frame], words, {"a2": "action", "p2": "place"})
        corrupt, _ = filled(FRAMES[frame], {**words, "a2": swapped[0], "p2": swapped[1]}, {})
        return CounterfactualText(
            frame,
            clean,
            corrupt,
            (WORDS[action, place],),
            (WORDS[swapped],),
            key,
            roles=(*decisive, *_around_blank(clean)),
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        words = prompt[prompt.index("_") :].split()
        action = next(w for w in words if w in ACTIONS)
        place = next(w for w in words if w in PLACES)
        return completion == WORDS[action, place]


def _around_blank(text: str) -> tuple[RoleSpan, RoleSpan, RoleSpan]:
    at = text.index("_")
    return (
        RoleSpan("left_context", 0, at),
        RoleSpan("blank", at, at + 1),
        RoleSpan("right_context", at + 1, text.index(" :")),
    )
