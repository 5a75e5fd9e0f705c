"""Path-star graphs (Bachmann & Nagarajan 2024, arXiv 2403.06963): from the centre of a star to the end of an arm.

The first hop is the decision: only the goal says which arm to take, and it is known only from following that arm
backwards. After it every hop follows from the one before. Nodes are capital letters, each with a space in front, so
that a node is the same token wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from mechshift_core.tasks.banks import BUNDLED, Bank
from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, choose
from mechshift_core.tasks.natural import formats as natural
from mechshift_core.tasks.roles import RoleSpan

NODES = natural.PATH_STAR.lists["nodes"]
"""Without A and I, which are words."""
SHAPES = {"2x2": (2, 2), "2x3": (2, 3), "3x2": (3, 2)}
"""Arms and the nodes of each, the centre not counted."""
FRAMES = {name: natural.PATH_STAR.frames[name] for name in ("bars", "arrows", "roads")}
BANK = Bank(BUNDLED, FRAMES, {"nodes": NODES}, fine=True)

Arms = tuple[tuple[str, ...], ...]


class PathStar:
    """ "Edges: B C | B E | E F | C D / B D = B" -> C (D); corrupted: the goal F, so that E is the first hop."""

    name = "path_star"
    regime: Regime = "global"
    metric: Metric = "logit_difference"
    judged_by: Judgement = "argmax"
    summary = "the first hop from the centre of a star graph to a goal; corrupted by the end of another arm as the goal"
    roles: tuple[str, ...] = ("edge", "goal_arm", "start", "goal")

    def __init__(self, bank: Bank = BANK) -> None:
        self.bank = bank

    @property
    def banks(self) -> Mapping[str, PathStar]:
        return {bank.name: PathStar(bank) for bank in (BANK, natural.PATH_STAR)}

    def _draw(self, rng: np.random.Generator) -> tuple[str, str, str, Arms, tuple[tuple[str, str], ...]]:
        """(wording, template, centre, arms with the goal's first, edges in the order of the prompt)."""
        frame, shape = choose(rng, tuple(self.bank.frames)), choose(rng, tuple(SHAPES))
        count, length = SHAPES[shape]
        centre, *others = (NODES[int(i)] for i in rng.permutation(len(NODES))[: 1 + count * length])
        arms = tuple(tuple(others[arm * length : (arm + 1) * length]) for arm in range(count))
        edges = [edge for arm in arms for edge in pairwise((centre, *arm))]
        return (
            self.bank.frames[frame],
            self.bank.template(frame, shape),
            centre,
            arms,
            tuple(edges[int(i)] for i in rng.permutation(len(edges))),
        )

    def exercise(self, rng: np.random.Generator) -> Exercise:
        wording, template, centre, arms, edges = self._draw(rng)
        return Exercise(template, _prompt(wording, edges, centre, arms[0])[0], " ".join(arms[0]), _key(centre, arms))

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        wording, template, centre, arms, edges = self._draw(rng)
        first, other, *_ = arms
        clean, spans = _prompt(wording, edges, centre, first)
        return CounterfactualText(
            template,
            clean,
            _prompt(wording, edges, centre, other)[0],
            (first[0],),
            (other[0],),
            _key(centre, arms),
            remainder=" ".join(first[1:]),
            corrupt_remainder=" ".join(other[1:]),
            roles=spans,
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        *nodes, start, goal, at = re.findall(r"\b[A-Z]\b", prompt)
        edges = set(zip(nodes[::2], nodes[1::2], strict=True))
        path = [at, *completion.split()]
        return start == at and path[-1] == goal and all(hop in edges for hop in pairwise(path))


def _key(centre: str, arms: Arms) -> str:
    """The graph, whatever the goal and the order of the edges."""
    return f"path_star:{centre}:" + "+".join(sorted("".join(arm) for arm in arms))


def _prompt(
    wording: str, edges: tuple[tuple[str, str], ...], centre: str, arm: tuple[str, ...]
) -> tuple[str, tuple[RoleSpan, ...]]:
    """The edges and the question for the end of an arm, and what its nodes are; the last one is not marked."""
    before, edge, between, _, question = re.split(r"(\{a\}.*?\{b\})", wording)
    listed = between.join(edge.format(a=a, b=b) for a, b in edges)
    text = before + listed + question.format(start=centre, goal=arm[-1])
    roles = [role for a, b in edges for role in ["goal_arm" if b in arm else "edge"] * 2]
    places = [match.start() for match in re.finditer(r"\b[A-Z]\b", text)]
    named = zip([*roles, "start", "goal"], places[:-1], strict=True)
    return text, tuple(RoleSpan(role, at, at + 1) for role, at in named)
