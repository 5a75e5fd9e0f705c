"""What a kind of hypothesis test is: how a claim is decided on an estimate with its error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.spec.hypotheses import HypothesisTest
    from mechshift_core.spec.statistics import Statistics
    from stats.hypothesis_tests import TestResult
    from stats.replicates import Contrast

OPTIONS = ("to", "margin", "alternative", "bound")
"""The options that a test may have, besides its `kind`."""


def _zero(_: HypothesisTest) -> tuple[float, ...]:
    return (0.0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestKind:
    """A kind of hypothesis test.

    Attributes:
        name: What a spec says as `kind`.
        text: What it decides, a sentence for the reference.
        options: Those of `OPTIONS` that it has.
        required: Option -> what it is, for the message that it is missing.
        sided: Whether a side has to be claimed (`alternative: less` or `greater`).
        claim: What a finding says as `alternative`; empty for the option of that name.
        refers: Whether it compares with a reference, so that zero is "the same": of a measure that is no shift it then
            needs one (`to`).
        nulls: Where the claim is just false, the value that is tested against first; two for a claim of a range.
        decide: The test of a contrast, under the statistics of a spec.
    """

    __test__ = False  # no test case of pytest

    name: str
    text: str
    decide: Callable[[HypothesisTest, Contrast, Statistics], TestResult]
    options: frozenset[str] = frozenset()
    required: Mapping[str, str] = field(default_factory=dict)
    sided: bool = False
    claim: str = ""
    refers: bool = False
    nulls: Callable[[HypothesisTest], tuple[float, ...]] = _zero


def faults_of(kind: TestKind) -> Iterable[str]:
    """What is inconsistent about a kind of test."""
    if not kind.name or not kind.text:
        yield "its `name` or `text` is empty"
    unknown = sorted((kind.options | kind.required.keys()) - set(OPTIONS))
    if unknown:
        yield f"options are {', '.join(OPTIONS)}, not {', '.join(unknown)}"
    if not kind.required.keys() <= kind.options:
        yield "an option that is required is not among its `options`"
