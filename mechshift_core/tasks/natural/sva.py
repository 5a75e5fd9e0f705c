"""People and things in subjects of many forms; in each, the next word is the verb.

The verbs are no nouns that could go on a compound, and none has a past tense that looks like its plural form.
"""

from __future__ import annotations

from mechshift_core.tasks.banks import NATURAL, Bank

PEOPLE = tuple(
    "teacher student driver author actor officer player parent artist writer leader worker friend brother soldier "
    "customer member guest girl boy farmer doctor lawyer singer painter baker manager visitor neighbor scientist "
    "tourist sailor nurse judge engineer".split()
)
THINGS = tuple(
    "car book picture letter table window computer tree paper door photo tool key chair lamp box bag bottle cup plate "
    "clock phone camera flower map ticket candle basket mirror painting pencil card coat hat jacket".split()
)
ADJECTIVES = tuple("old new good small big other best great strange famous little beautiful".split())
"""Of people and things alike."""
PRESENT = tuple("want/wants need/needs see/sees use/uses like/likes love/loves buy/buys sell/sells".split())
"""What the attractor does, plural and singular."""
PAST = tuple("saw wanted needed used found took bought sold liked lost".split())
VERBS = tuple(
    "are/is were/was have/has do/does seem/seems become/becomes remain/remains appear/appears come/comes give/gives "
    "make/makes take/takes know/knows think/thinks say/says get/gets go/goes keep/keeps bring/brings hold/holds "
    "stand/stands sit/sits feel/feels lose/loses meet/meets tell/tells find/finds believe/believes "
    "continue/continues provide/provides require/requires include/includes contain/contains allow/allows "
    "create/creates follow/follows understand/understands learn/learns write/writes choose/chooses grow/grows "
    "begin/begins belong/belongs exist/exists happen/happens depend/depends receive/receives produce/produces "
    "represent/represents suggest/suggests reveal/reveals describe/describes explain/explains carry/carries sell/sells "
    "buy/buys send/sends teach/teaches speak/speaks live/lives arrive/arrives enjoy/enjoys prove/proves serve/serves "
    "seek/seeks deserve/deserves add/adds".split()
)
FRAMES = {
    "near": "The {subject} near the {attractor}",
    "behind": "The {subject} behind the {attractor}",
    "beside": "The {adjective} {subject} beside the {attractor}",
    "in-front": "The {subject} in front of the {attractor}",
    "next-to": "As you can see, the {subject} next to the {attractor}",
    "town": "The {adjective} {subject} from the other side of town",
    "with": "The {adjective} {subject} with the {attractor}",
    "talking": "The {subject} talking about the {attractor}",
    "relative-object": "The {subject} that the {attractor} {present}",
    "relative-subject": "The {subject} who {past} the {attractor}",
    "relative-past": "The {subject} that the {attractor} {past} yesterday",
    "for": "The {adjective} {subject} for the {attractor}",
    "of": "The {subject} of the {attractor}",
    "morning": "In the morning, the {adjective} {subject}",
    "winter": "Every winter, the {adjective} {subject} in this village",
    "i-think": "I think that the {adjective} {subject} in the kitchen",
    "knows-why": "Nobody knows why the {adjective} {subject}",
    "told-me": "My sister told me that the {adjective} {subject} across the street",
    "because": "We stayed at home because the {adjective} {subject}",
    "although": "Although it is late, the {subject} with the {attractor}",
    "news": "According to the news, the {subject} who {past} the {attractor}",
    "chosen": "The {subject} chosen by the {attractor}",
    "corner": "The {adjective} {subject} in the corner of the room",
    "standing": "The {subject} standing behind the {attractor}",
    "clear": "It was clear to everyone that the {subject} near the {attractor}",
    "bare-relative": "The {subject} the {attractor} {present}",
}
WHO = {
    "near": True, "behind": True, "beside": False, "in-front": False, "next-to": False, "town": True, "with": True,
    "talking": True, "relative-object": False, "relative-subject": True, "relative-past": False, "for": False,
    "of": False, "morning": True, "winter": True, "i-think": False, "knows-why": False, "told-me": True,
    "because": False, "although": True, "news": True, "chosen": False, "corner": False, "standing": True,
    "clear": True, "bare-relative": False,
}  # fmt: skip
"""Whether the subject of a frame are people; the attractor is then a thing, and else people."""
BANK = Bank(
    NATURAL,
    FRAMES,
    {
        "adjective": ADJECTIVES,
        "subject": (*PEOPLE, *THINGS),
        "past": PAST,
        "people": PEOPLE,
        "things": THINGS,
        "present": PRESENT,
        "verbs": VERBS,
    },
)
