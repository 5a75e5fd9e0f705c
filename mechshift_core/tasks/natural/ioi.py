"""Two people, one of whom hands the other something: who, to a reader of the sentence, gets it."""

from __future__ import annotations

from mechshift_core.tasks.banks import NATURAL, Bank
from mechshift_core.tasks.natural.names import NAMES

PLACES = tuple(
    "store park school office stadium station library market museum beach restaurant hospital hotel airport theater "
    "church bakery bank".split()
)
THINGS = tuple(
    "drink book ring ball key gift letter map ticket bottle card coin phone camera picture hat pen watch flower "
    "basket".split()
)
FRAMES = {
    "went": "When {a} and {b} went to the {place}, {s} gave a {thing} to",
    "visited": "After {a} and {b} had visited the {place}, {s} sent a {thing} to",
    "waiting": "While {a} and {b} were waiting at the {place}, {s} handed the {thing} to",
    "talk": "{a} and {b} had a long talk at the {place}, and then {s} gave the {thing} to",
    "friends": "The two old friends {a} and {b} met at the {place}, where {s} showed the {thing} to",
    "rain": "It rained all day, so {a} and {b} stayed at the {place} until {s} offered the {thing} to",
    "lunch": "On the last day of school, {a} and {b} ate lunch together, and {s} passed the bread to",
    "argument": "{a} and {b} had an argument last week, but today {s} wrote a long letter to",
    "kitchen": "In the kitchen, {a} and {b} were making dinner when {s} passed the salt to",
    "office": "{a} and {b} share an office, and every morning {s} brings a cup of coffee to",
    "train": "On the train, {a} sat across from {b}, and after an hour {s} offered a {thing} to",
    "class": "{a} and {b} were in the same class, so it was no surprise that {s} lent a {thing} to",
    "game": "{a} and {b} were playing in the snow when {s} threw the ball to",
    "fire": "Late at night {a} and {b} sat by the fire, and {s} told an old story to",
    "moved": "Before {a} and {b} moved to another city, {s} left the {thing} to",
    "exit": "{a} walked through the {place} with {b}, and near the exit {s} gave the {thing} to",
    "bet": "{a} and {b} made a bet, and in the end {s} paid ten dollars to",
    "neighbors": "Since {a} and {b} are neighbors, nobody minded when {s} lent the {thing} to",
    "report": "{a} and {b} worked on the report all night, and at dawn {s} read the last page to",
    "lesson": "During the lesson, {a} and {b} whispered until {s} slipped a note to",
    "message": "{a} and {b} had not spoken for years, but this morning {s} sent a message to",
    "rules": "Everyone watched {a} and {b} as {s} explained the rules of the game to",
    "dance": "At the party, {a} danced with {b}, and later that evening {s} introduced a cousin to",
    "only": "There were only two people at the {place}, {a} and {b}, and {s} gave the {thing} to",
    "newspaper": "The newspaper says that {a} and {b} met at the {place} and that {s} sold the {thing} to",
}
BANK = Bank(NATURAL, FRAMES, {"names": NAMES, "places": PLACES, "things": THINGS})
