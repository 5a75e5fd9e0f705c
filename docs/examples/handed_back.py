"""A generated task. "The ring went from Mary to John . Then John handed the ring to": who gets it back?"""

from __future__ import annotations

import numpy as np

from mechshift_core.extending import CounterfactualText, RoleSpan

NAMES = tuple("Mary John Paul Anna Mark Lucy Tom Sara Jack Emma".split())
THINGS = tuple("ring ball book key".split())
FRAMES = {
    "went": "The {thing} went from {giver} to {taker} . Then {taker} handed the {thing} to",
    "gave": "{giver} gave the {thing} to {taker} . Then {taker} sent the {thing} to",
}


class HandedBack:
    """The name of the giver; corrupted: giver and taker change places."""

    name = "handed_back"
    regime = "local"
    metric = "logit_difference"
    judged_by = "argmax"
    summary = "the giver against the taker, who hands a thing back; corrupted by exchanging them"
    roles = ("giver",)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText:
        """One pair of prompts; every draw comes from the generator."""
        giver, taker = (str(name) for name in rng.choice(NAMES, size=2, replace=False))
        template, thing = str(rng.choice(list(FRAMES))), str(rng.choice(THINGS))
        clean = FRAMES[template].format(giver=giver, taker=taker, thing=thing)
        start = clean.index(giver)
        return CounterfactualText(
            template=template,
            clean=clean,
            corrupt=FRAMES[template].format(giver=taker, taker=giver, thing=thing),
            answers=(giver,),
            foils=(taker,),
            key=f"handed_back:{giver}:{taker}:{thing}",
            roles=(RoleSpan("giver", start, start + len(giver)),),
        )


KINDS = [HandedBack()]
