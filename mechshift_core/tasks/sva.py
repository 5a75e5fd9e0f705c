"""Subject-verb agreement (Finlayson et al. 2021, arXiv 2106.06087; Newman et al. 2021, arXiv 2104.09635).

The verb that comes next agrees with the subject, whatever stands between them: another noun (the attractor, of the
same number or the other), alone or in a relative clause. Nouns and verbs are single tokens, in both numbers, to GPT-2,
Llama 2 and Qwen; with other tokenizers the prompts are dropped whose nouns are not.
"""

from __future__ import annotations

import numpy as np

from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, choose
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
PLURAL_VERBS = tuple(verb.partition("/")[0] for verb in VERBS)
SINGULAR_VERBS = tuple(verb.partition("/")[2] for verb in VERBS)
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


class SubjectVerbAgreement:
    """ "The books that the teacher wants" -> are, have, ...; corrupted: the subject is singular."""

    name = "sva"
    regime: Regime = "local"
    metric: Metric = "probability_difference"
    judged_by: Judgement = "metric"
    summary = "verbs that agree with a plural subject against singular ones; corrupted by a singular subject"
    roles: tuple[str, ...] = ("adjective", "subject", "preposition", "that", "attractor", "verb")

    def _draw(self, rng: np.random.Generator) -> tuple[str, str, dict[str, str], str]:
        """(frame, template, words for the frame's slots with the subject in the singular, key)."""
        frame = choose(rng, tuple(FRAMES))
        # In a relative clause it is people who want, and things that are wanted.
        people = frame == "relative-subject" or (frame != "relative-object" and bool(rng.integers(2)))
        group, other = (PEOPLE, THINGS) if people else (THINGS, PEOPLE)
        number = int(rng.integers(2))
        attractor, present = choose(rng, other), choose(rng, PRESENT)
        words = {
            "opening": choose(rng, OPENINGS),
            "adjective": choose(rng, ADJECTIVES),
            "subject": choose(rng, group),
            "preposition": choose(rng, PREPOSITIONS),
            "that": "that",
            "attractor": _noun(attractor, number),
            "present": present.split("/")[number == SINGULAR],
            "past": choose(rng, PAST),
        }
        template = frame if frame == "simple" else f"{frame}-{NUMBERS[number]}"
        # The numbers of the nouns are no part of the combination: it is held out in all of them.
        text, _ = filled(FRAMES[frame], {**words, "attractor": attractor, "present": present}, {})
        return frame, template, words, f"sva:{text}"

    def exercise(self, rng: np.random.Generator) -> Exercise:
        frame, template, words, key = self._draw(rng)
        number = int(rng.integers(2))
        prompt, _ = filled(FRAMES[frame], {**words, "subject": _noun(words["subject"], number)}, {})
        return Exercise(template, prompt, choose(rng, PLURAL_VERBS if number == PLURAL else SINGULAR_VERBS), key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        frame, template, words, key = self._draw(rng)
        clean, spans = filled(FRAMES[frame], {**words, "subject": _noun(words["subject"], PLURAL)}, ROLES)
        return CounterfactualText(
            template,
            clean,
            filled(FRAMES[frame], words, {})[0],
            PLURAL_VERBS,
            SINGULAR_VERBS,
            key,
            roles=tuple(span for span in spans if span.stop < len(clean)),
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        nouns = {_noun(noun, number): number for noun in (*PEOPLE, *THINGS) for number in (SINGULAR, PLURAL)}
        number = next((nouns[word] for word in prompt.split() if word in nouns), None)
        return number is not None and completion in (PLURAL_VERBS if number == PLURAL else SINGULAR_VERBS)


def _noun(noun: str, number: int) -> str:
    return f"{noun}s" if number == PLURAL else noun
