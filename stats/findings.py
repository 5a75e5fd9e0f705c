"""Findings: what a run concludes, as frozen results that are written to and read from `findings.json`.

A *finding* answers one declared hypothesis: estimand, estimate, interval, test and verdict. An *estimate* is one
measure for one pair and task, with its interval and whatever reference values (null, ceiling) the measure has.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import polars as pl

FINDINGS_SCHEMA = "mechshift-findings/v1"

Verdict = Literal["supported", "refuted", "inconclusive", "not estimable"]
Status = Literal["ok", "points only", "undefined", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One of the quantities whose weighted sum is a finding's estimate, e.g. retention on `ioi` of one pair."""

    pair: str
    role: str
    seed: int | None
    task: str
    regime: str
    weight: float
    estimate: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One of the means that a finding adds and subtracts, over pairs and tasks with equal weights.

    Attributes:
        sign: 1 where it is added, -1 where it is subtracted.
        role: Role of its pairs or trajectories, and `pair` their name, `regime` of its tasks and `task` their name, as
            far as the hypothesis says; empty where it takes all.
        tasks: The tasks that it is over.
        estimate: The mean; None where a part of it has no estimate.
        budget: The inference budget that it is at, where budgets are compared; empty otherwise.
    """

    sign: int
    role: str
    pair: str
    regime: str
    task: str
    tasks: tuple[str, ...]
    estimate: float | None
    budget: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a finding is on one task or regime alone.

    Attributes:
        key: `task` or `regime`, and `level` which.
        p: p-value of the same test there, not corrected.
        se: Standard error, and `df` its degrees of freedom; None where there is none, and in older files.
    """

    key: str
    level: str
    estimate: float | None
    low: float | None
    high: float | None
    p: float | None
    se: float | None = None
    df: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one hypothesis.

    Attributes:
        id: The hypothesis' id in the spec, and `claim` its claim in words.
        measure: The measure tested, e.g. `retention`.
        estimand: What `estimate` estimates, in one sentence.
        test: `difference`, `equivalence`, `non_inferiority` or `bound`; `alternative` is `two-sided`, `less` or
            `greater` for a difference or a bound, `equivalent` or `not inferior` for the others.
        margin: Margin of an equivalence or non-inferiority test, in the measure's own units.
        null: The value that the estimate is tested against: 0, the bound, or minus the margin of non-inferiority.
        estimate: Point estimate; None where the status says why.
        se: Standard error, `df` the degrees of freedom of the reference t distribution, `statistic` estimate / se
            (for an equivalence test: of the one-sided test that decides).
        low: Lower end of the two-sided interval at `confidence` (`high`: upper end).
        p: p-value, and `p_corrected` after the correction within the family of `family_size` hypotheses.
        n: Number of units by kind, e.g. {"prompt": 400, "task": 2, "seed": 1}.
        method: How interval and test were made.
        seed: Seed of the random draws.
        verdict: What the test says about the claim at the corrected level.
        status: Whether the numbers can be used; `message` says why not, or what to keep in mind.
        terms: What the estimate is made of.
        groups: The same by group: one, two of a contrast, or four of a difference in differences (first minus second,
            minus third, plus fourth).
        p_opposite: p-value of the opposite claim, `p_opposite_corrected` within the family of these; a claim is refuted
            by it. None for a two-sided difference.
        inner_low: Lower end of the interval at 2 x `confidence` - 1, which decides an equivalence (`inner_high`: upper
            end); None for other tests.
        every: `task` or `regime` where the claim is made of each: p is the largest of the parts', and `method` says
            which; all other numbers are of the average. Empty where the average is tested.
        parts: The same on each task or regime alone, where there are several.
        location: What is taken instead of the mean over prompts, `20% trimmed mean`; empty otherwise.
        along: What of a trajectory the estimate is, `trend` or `value at 2000`, and the groups are of trajectories;
            empty otherwise.
        witness_of: The id of the hypothesis whose claim this one asks another measure about; empty otherwise.
    """

    id: str
    claim: str
    measure: str
    estimand: str
    test: str
    alternative: str
    margin: float | None
    estimate: float | None
    se: float | None
    low: float | None
    high: float | None
    confidence: float
    statistic: float | None
    df: float | None
    p: float | None
    p_corrected: float | None
    correction: str
    family_size: int
    n: Mapping[str, int]
    method: str
    seed: int
    verdict: Verdict
    status: Status
    message: str = ""
    terms: tuple[Term, ...] = ()
    null: float = 0.0
    p_opposite: float | None = None
    p_opposite_corrected: float | None = None
    inner_low: float | None = None
    inner_high: float | None = None
    every: str = ""
    parts: tuple[Part, ...] = ()
    location: str = ""
    groups: tuple[Group, ...] = ()
    along: str = ""
    witness_of: str = ""

    @property
    def shown(self) -> tuple[float | None, float | None, float]:
        """The interval that belongs to the test, and its level: of an equivalence that at 2 x `confidence` - 1."""
        if self.inner_low is None or self.inner_high is None:
            return self.low, self.high, self.confidence
        return self.inner_low, self.inner_high, 2 * self.confidence - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One measure for one pair and task.

    Attributes:
        side: `before`, `after` (a property of one model), `shift` (after minus before) or `between` (of the pair).
        reference: Values to read the estimate against, e.g. {"null": 0.03, "ceiling": 0.41}.
    """

    pair: str
    role: str
    seed: int | None
    task: str
    regime: str
    measure: str
    side: str
    estimate: float | None
    low: float | None
    high: float | None
    confidence: float
    n: Mapping[str, int]
    method: str
    status: Status
    message: str = ""
    reference: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A hypothesis that was declared and is so no more; it stays in the family, as one without a test."""

    id: str
    claim: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """When the hypotheses were declared.

    Attributes:
        known: Whether there is a record from before the first results.
        changed: Hypothesis -> what of it is not as it was before the first results, a line each; `added` if it was not
            there.
        settings: What of statistics, selection, measures, pairs, tasks, interventions and seed is not as it was, a line
            each.
        dropped: The hypotheses that are declared no more.
        registered: When the study was registered; empty if it was not.
        unlike: What is not as registered, a line each.
    """

    known: bool = True
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    registered: str = ""
    unlike: tuple[str, ...] = ()

    @property
    def before(self) -> bool:
        """Whether all that is declared was so before the first results."""
        return self.known and not (self.changed or self.settings or self.dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """The same hypotheses and measures under another choice than the study's first.

    Attributes:
        choice: What was chosen otherwise, e.g. `denoising`, and `value`, how.
    """

    choice: str
    value: str
    hypotheses: tuple[Finding, ...]
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that a run concludes; serialised as `findings.json`.

    Attributes:
        alternatives: What comes out under the other choices that the spec names, the inference budgets after the first;
            no part of the family of hypotheses.
    """

    name: str
    hypotheses: tuple[Finding, ...]
    estimates: tuple[Estimate, ...]
    alternatives: tuple[Alternative, ...] = ()
    declaration: Declaration = field(default_factory=Declaration)

    def __repr__(self) -> str:
        verdicts = [finding.verdict for finding in self.hypotheses]
        counted = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
        claims = f"{len(verdicts)} hypothes{'is' if len(verdicts) == 1 else 'es'}{counted and f' ({counted})'}"
        return f"Findings({self.name!r}: {claims}, {len(self.estimates)} estimate{'s' * (len(self.estimates) != 1)})"

    def to_frame(self, of: Literal["hypotheses", "estimates"] = "hypotheses") -> pl.DataFrame:
        """The findings as a polars frame.

        Args:
            of: `hypotheses` has a row for each of them, with `id`, `claim`, `estimate`, `low`, `high`, `p`,
                `p_corrected`, `verdict` and the other fields of :class:`Finding` but for its lists; `estimates` a row
                for each measure on each pair and task, with the fields of :class:`Estimate`. `n_prompt` and the like
                are the numbers of units.

        Raises:
            ValueError: for another word.
        """
        from stats.finding_frames import estimate_frame, finding_frame
        from stats.options import check_option

        check_option("of", of, Literal["hypotheses", "estimates"])
        return finding_frame(self.hypotheses) if of == "hypotheses" else estimate_frame(self.estimates)

    def to_json(self) -> str:
        """Deterministic JSON with a schema version; numbers that are not finite become null."""
        content = {"schema": FINDINGS_SCHEMA, **asdict(self)}
        return json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Findings:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: if the text is no findings document of a known schema version.
        """
        try:
            content = json.loads(text)
            if content["schema"] != FINDINGS_SCHEMA:
                raise ValueError(f"findings of schema {content['schema']!r}, expected {FINDINGS_SCHEMA!r}")
            return cls(
                name=content["name"],
                **_concluded(content),
                alternatives=tuple(
                    Alternative(choice=row["choice"], value=row["value"], **_concluded(row))
                    for row in content.get("alternatives", [])
                ),
                declaration=_declaration(content.get("declaration", {})),
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"not a findings document: {error!r}") from error


def _declaration(content: Mapping[str, Any]) -> Declaration:
    lists = {name: tuple(content.get(name, ())) for name in ("settings", "unlike")}
    return Declaration(
        known=content.get("known", True),
        changed={name: tuple(lines) for name, lines in content.get("changed", {}).items()},
        dropped=tuple(Dropped(**one) for one in content.get("dropped", ())),
        registered=content.get("registered", ""),
        **lists,
    )


def _concluded(content: Mapping[str, Any]) -> dict[str, Any]:
    """The hypotheses and estimates of a part of the document."""
    return {
        "hypotheses": tuple(
            Finding(
                **{
                    **row,
                    "terms": tuple(Term(**term) for term in row["terms"]),
                    "parts": tuple(Part(**part) for part in row.get("parts", ())),
                    "groups": tuple(
                        Group(**{**group, "tasks": tuple(group["tasks"])}) for group in row.get("groups", ())
                    ),
                }
            )
            for row in content["hypotheses"]
        ),
        "estimates": tuple(Estimate(**row) for row in content["estimates"]),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
