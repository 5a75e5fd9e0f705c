"""Sentences with a blank, and what is done with the thing in the blank: the cue that says which thing it is.

Every cue is a verb and two words, so that one can stand for another. Things of the same kind could do each other's
work, so the cue of one is never held against that of another.
"""

from __future__ import annotations

from mechshift_core.tasks.banks import NATURAL, Bank
from mechshift_core.tasks.natural.names import NAMES

BLANK = "___"
QUESTION = " The missing word is"
KINDS = {
    "kitchen": (
        "knife: cut/cut the bread", "spoon: stir/stirred the soup", "fork: eat/ate the noodles",
        "pan: fry/fried the eggs", "kettle: make/made the tea", "straw: sip/sipped the juice",
        "scale: weigh/weighed the flour",
    ),
    "cleaning": (
        "broom: sweep/swept the floor", "soap: wash/washed the dog", "hose: rinse/rinsed the truck",
        "iron: press/pressed the shirt", "rake: gather/gathered the leaves", "brush: paint/painted the fence",
        "comb: part/parted the hair",
    ),
    "desk": (
        "pen: sign/signed the contract", "pencil: draw/drew the portrait", "eraser: remove/removed the mistake",
        "envelope: mail/mailed the letter", "ruler: measure/measured the line",
    ),
    "device": (
        "phone: call/called the doctor", "camera: photograph/photographed the birds",
        "computer: run/ran the program", "radio: hear/heard the news", "remote: change/changed the channel",
        "microphone: record/recorded the interview", "dictionary: translate/translated the word",
        "mirror: check/checked the makeup", "map: plan/planned the route", "telescope: observe/observed the stars",
        "microscope: examine/examined the cells", "guitar: play/played the song", "drum: beat/beat the rhythm",
    ),
    "outdoors": (
        "shovel: dig/dug the ditch", "axe: chop/chopped the wood", "rope: tie/tied the horse",
        "boat: cross/crossed the lake", "net: catch/caught the fish", "gun: shoot/shot the wolf",
        "ladder: climb/climbed the wall", "hammer: hit/hit the nail", "match: light/lit the fire",
        "saddle: ride/rode the pony", "leash: walk/walked the puppy", "shield: stop/stopped the arrows",
        "glue: mend/mended the vase", "whistle: start/started the race", "wrench: tighten/tightened the bolt",
        "trap: kill/killed the mouse", "anchor: hold/held the ship",
    ),
    "house": (
        "key: unlock/unlocked the door", "curtain: darken/darkened the bedroom", "fan: cool/cooled the office",
        "heater: warm/warmed the garage", "blanket: cover/covered the baby", "towel: dry/dried the dishes",
        "paper: wrap/wrapped the gift", "umbrella: escape/escaped the rain", "bag: carry/carried the groceries",
        "ticket: board/boarded the train", "money: pay/paid the rent", "bucket: milk/milked the cow",
    ),
    "health": (
        "bandage: treat/treated the wound", "medicine: cure/cured the fever", "razor: shave/shaved the beard",
        "thermometer: take/took the temperature", "needle: sew/sewed the button",
    ),
}  # fmt: skip
FRAMES = {
    "used": "{who} used the ___ to {verb} {object}.",
    "needed": "Once again, {who} needed the ___ to {verb} {object}.",
    "took": "{who} took the ___ and {past} {object}.",
    "reached": "Without a word {who} reached for the ___ and {past} {object}.",
    "borrowed": "{who} borrowed the ___ from a neighbor to {verb} {object}.",
    "without": "Without the ___, {who} could not {verb} {object}.",
    "thanks": "Thanks to the ___, {who} managed to {verb} {object}.",
    "paid-for": "Yesterday {who} paid for the ___ and then {past} {object}.",
    "looked": "{who} looked for the ___ everywhere, because it was time to {verb} {object}.",
    "forgotten": "{who} had forgotten the ___ and so could not {verb} {object}.",
    "asked": "{who} asked for the ___, which was needed to {verb} {object}.",
    "where": "\"Where is the ___?\" asked {who}. \"I have to {verb} {object}.\"",
    "with-it": "It was with the ___ that {who} {past} {object}.",
    "gone": "The ___ was gone, so {who} could not {verb} {object}.",
    "brought": "{who} brought the ___ from home and {past} {object} that evening.",
    "lent": "A friend lent {who} the ___, just long enough to {verb} {object}.",
    "found": "{who} found the ___ at last and {past} {object} at once.",
    "nobody": "Nobody touched the ___ until {who} came and {past} {object} with it.",
    "arrived": "As soon as the ___ arrived, {who} {past} {object}.",
    "pointed": "{who} pointed at the ___ and offered to {verb} {object} with it.",
    "give-me": "Give me the ___, {who}, so that I can {verb} {object}.",
    "learned": "With the ___, {who} finally learned how to {verb} {object}.",
    "years": "For years {who} kept the ___ only to {verb} {object}.",
    "wonder": "I wonder whether the ___ will help {who} to {verb} {object}.",
}  # fmt: skip


def _cues() -> dict[str, tuple[str, dict[str, str]]]:
    """Thing -> its kind, and the words of its cue."""
    found = {}
    for kind, lines in KINDS.items():
        for line in lines:
            thing, verbs, thing_done = line.replace(":", "").split(" ", 2)
            verb, past = verbs.split("/")
            found[thing] = (kind, {"verb": verb, "past": past, "object": thing_done})
    return found


CUES = _cues()
BANK = Bank(
    NATURAL,
    FRAMES,
    {
        "names": NAMES,
        "things": tuple(CUES),
        "verbs": tuple(f"{cue['verb']}/{cue['past']}" for _, cue in CUES.values()),
        "objects": tuple(cue["object"] for _, cue in CUES.values()),
        "question": (QUESTION.strip(),),
    },
)
