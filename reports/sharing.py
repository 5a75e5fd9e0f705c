"""Parts of drawings that a page repeats, written once: axes that many panels share become references to one group."""

from __future__ import annotations

import re
from collections import Counter

_GROUP = re.compile(r'<g class="(axes|places)">(.*?)</g>')
_OWNERS = {"axes": "chart", "places": "matrix"}
_SHORTEST = 60


def share(body: str) -> str:
    """The content of a page with each group of class `axes` or `places` that it repeats as a `<use>` of the first.

    Only our own markup matches, since texts of a run are escaped. Groups of the two classes hold no other groups. The
    definitions come first, in pictures without an extent whose classes style them as in the drawings.
    """
    found = Counter((group[1], group[2]) for group in _GROUP.finditer(body))
    repeated = [key for key, times in found.items() if times > 1 and len(key[1]) > _SHORTEST]
    names = {key: f"shared-{number}" for number, key in enumerate(repeated, start=1)}

    def reference(group: re.Match[str]) -> str:
        name = names.get((group[1], group[2]))
        return group[0] if name is None else f'<use href="#{name}"/>'

    definitions = [
        f'<svg class="{owner} shared" width="0" height="0" aria-hidden="true">'
        + "".join(f'<g id="{names[key]}">{key[1]}</g>' for key in repeated if key[0] == kind)
        + "</svg>\n"
        for kind, owner in _OWNERS.items()
        if any(key[0] == kind for key in repeated)
    ]
    return "".join(definitions) + _GROUP.sub(reference, body)
