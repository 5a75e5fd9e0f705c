"""First names that are no other English words at the beginning of a sentence, most of them one token."""

from __future__ import annotations

NAMES = tuple(
    "Mary John Tom Anna Bob Lisa Paul Emma Jack Kate Lucy Adam Sara Alan Jane Luke Dan Amy James Robert Michael "
    "William David Richard Joseph Thomas Charles Daniel Matthew Anthony Steven Andrew Kevin Brian George Edward Ryan "
    "Jason Jacob Eric Peter Henry Simon Martin Alice Susan Karen Nancy Linda Laura Helen Sarah Rachel Julia Maria "
    "Diana Ruth Emily Jessica Amanda Rebecca Olivia Victoria Sophie Claire Ellen".split()
)
