"""Indirect object identification (Wang et al. 2023, arXiv 2211.00593), with the third-name corruption."""

from __future__ import annotations

import numpy as np

from mechshift_core.tasks.base import CounterfactualText, Exercise, Metric, Regime, choose

NAMES = tuple("Mary John Tom Anna Bob Lisa Paul Emma Jack Kate Mark Lucy Adam Sara Alan Jane Luke Rose Dan Amy".split())
PLACES = tuple("store park school office garden station".split())
OBJECTS = tuple("drink book ring ball key gift".split())
FRAMES = {
    "went": "When {a} and {b} went to the {place}, {s} gave a {thing} to",
    "visited": "After {a} and {b} visited the {place}, {s} sent a {thing} to",
    "were": "While {a} and {b} were at the {place}, {s} handed the {thing} to",
    "talked": "Then {a} and {b} had a long talk at the {place} and {s} gave the {thing} to",
}


class IndirectObject:
    """When Mary and John went to the store, John gave a drink to -> Mary; corrupted: the second John is a third."""

    name = "ioi"
    regime: Regime = "local"
    metric: Metric = "logit_difference"
    summary = "the name that is not repeated; corrupted by replacing the repeated subject with a third name"

    def _draw(self, rng: np.random.Generator) -> tuple[str, str, str, str, str, str]:
        """(template, frame with place and thing filled, indirect object, subject, other name, key)."""
        frame = choose(rng, tuple(FRAMES))
        order = choose(rng, ("ABBA", "BABA"))
        indirect, subject, other = (NAMES[i] for i in rng.permutation(len(NAMES))[:3])
        text = FRAMES[frame].replace("{place}", choose(rng, PLACES)).replace("{thing}", choose(rng, OBJECTS))
        a, b = (indirect, subject) if order == "ABBA" else (subject, indirect)
        text = text.replace("{a}", a).replace("{b}", b)
        return f"{frame}-{order}", text, indirect, subject, other, "ioi:" + "+".join(sorted((indirect, subject)))

    def exercise(self, rng: np.random.Generator) -> Exercise:
        template, text, indirect, subject, _, key = self._draw(rng)
        return Exercise(template, text.replace("{s}", subject), indirect, key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        template, text, indirect, subject, other, key = self._draw(rng)
        return CounterfactualText(
            template, text.replace("{s}", subject), text.replace("{s}", other), (indirect,), (subject,), key
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        names = [word for word in prompt.replace(",", " ").split() if word in NAMES]
        return len(names) == 3 and completion == next(n for n in names[:2] if n != names[2])
