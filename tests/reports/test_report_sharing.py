from __future__ import annotations

from xml.etree import ElementTree

import pytest

from reports.figures.compact import compact
from reports.sharing import share

LONG = '<path d="M0 0' + "h1" * 40 + '"/>'


def test_a_repeated_group_is_written_once_and_referred_to() -> None:
    body = f'<svg><g class="axes">{LONG}</g><b/></svg><svg><g class="axes">{LONG}</g></svg><g class="axes">other</g>'
    shared = share(body)
    assert shared.count(LONG) == 1 and shared.count('<use href="#shared-1"/>') == 2
    assert '<g class="axes">other</g>' in shared
    assert shared.startswith('<svg class="chart shared" width="0" height="0" aria-hidden="true"><g id="shared-1">')


def test_groups_of_one_kind_are_not_those_of_the_other_and_nothing_repeated_means_nothing_changed() -> None:
    body = f'<g class="axes">{LONG}</g><g class="places">{LONG}</g>'
    assert share(body) == body


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<g><g transform="translate(2,3)"><text x="1">a</text></g></g>', '<text x="3" y="3">a</text>'),
        ('<line x2="5" y2="0" transform="translate(0,1)"/><line x2="5" y2="0"/>', '<path d="M0 1h5M0 0h5"/>'),
        ('<line x2="5" y2="2"/>', '<path d="M0 0l5 2"/>'),
        (
            '<path d="M3,0A3,3,0,1,1,-3,0A3,3,0,1,1,3,0" transform="translate(4,5.5)"/>',
            '<circle cx="4" cy="5.5" r="3"/>',
        ),
        ('<path d="M-3,-3h6v6h-6Z" transform="translate(4,5)"/>', '<rect x="1" y="2" width="6" height="6"/>'),
        (
            '<g transform="translate(1,1)"><text transform="translate(2,3) rotate(-90)">a</text></g>',
            '<text transform="translate(1,1)translate(2,3) rotate(-90)">a</text>',
        ),
        ('<g opacity="0.5"><path d="M0,0L1,1"/></g>', '<g opacity="0.5"><path d="M0,0L1,1"/></g>'),
        (
            '<g class="axes" transform="translate(1,0)"><text>a</text></g><path d="M0,0L1,1"/>'
            '<g class="axes"><text>b</text></g>',
            '<g class="axes"><text x="1" y="0">a</text><text x="0" y="0">b</text></g><path d="M0,0L1,1"/>',
        ),
    ],
)
def test_a_compact_drawing_is_the_same_drawing(before: str, after: str) -> None:
    group = ElementTree.fromstring(f"<g>{before}</g>")
    compact(group)
    assert ElementTree.tostring(group, encoding="unicode").replace(" />", "/>") == f"<g>{after}</g>"
