"""Events that last for years, and sentences that end with the century in which they ended."""

from __future__ import annotations

from mechshift_core.tasks.banks import NATURAL, Bank

NOUNS = tuple(
    "war trip project trial feast journey siege expedition voyage campaign famine drought plague epidemic rebellion "
    "revolt uprising conflict dispute feud alliance truce festival reign regime occupation blockade investigation "
    "excavation restoration exhibition tour strike crisis boom partnership experiment study survey program pilgrimage "
    "crusade mission debate marriage engagement contract quarrel persecution migration exile lawsuit competition "
    "tournament boycott embargo struggle revolution movement operation construction negotiation search hunt "
    "conspiracy protest recession".split()
)
CENTURIES = tuple(str(century) for century in range(11, 20))
FRAMES = {
    "lasted": "The {noun} lasted from the year {century}{year} to the year {again}",
    "began": "The {noun} began in {century}{year} and ended in {again}",
    "until": "From {century}{year} on, the {noun} went on until {again}",
    "over": "The {noun} started in {century}{year} and was over by {again}",
    "not-until": "It was in {century}{year} that the {noun} began, and it did not end until {again}",
    "records": "According to the records, the {noun} ran from {century}{year} to {again}",
    "historians": "Historians say that the {noun} began in {century}{year} and continued until {again}",
    "first-year": "The first year of the {noun} was {century}{year}, and the last year was {again}",
    "having": "Having begun in {century}{year}, the {noun} finally came to an end in {again}",
    "although": "Although the {noun} began in {century}{year}, its effects were not felt before {again}",
    "between": "The {noun} took place between the years {century}{year} and {again}",
    "dates": "The dates of the {noun} are well known: it lasted from {century}{year} until {again}",
    "nobody": "After the {noun} had begun in {century}{year}, nobody expected it to last until {again}",
    "book": "She wrote a long book about the {noun}, which lasted from {century}{year} to {again}",
    "museum": "The museum has letters about the {noun}, which began in {century}{year} and ended in {again}",
    "few": "When the {noun} began in {century}{year}, few people thought that it would go on until {again}",
    "town": "The town still remembers the {noun}, which started in {century}{year} and stopped in {again}",
    "documents": "Old documents date the beginning of the {noun} to {century}{year} and its end to {again}",
    "valley": "People still talk about the {noun}, from its start in {century}{year} to its end in {again}",
    "students": "Students learn that the {noun} started in {century}{year} and was still going on in {again}",
    "brought": "The {noun} that had started in {century}{year} was brought to an end in {again}",
    "knew": "Nobody knew in {century}{year}, when the {noun} began, that it would end in {again}",
    "region": "The {noun} shaped the region from {century}{year} until its end in {again}",
    "chapter": "This chapter follows the {noun} from its first days in {century}{year} to its last days in {again}",
}
BANK = Bank(NATURAL, FRAMES, {"nouns": NOUNS, "centuries": CENTURIES})
