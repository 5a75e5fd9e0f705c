"""What a hypothesis came to, in sentences: what each side is, how far they lie apart, which way, and what follows."""

from __future__ import annotations

from dataclasses import dataclass

from reports import formats
from reports.prose import direction, is_shift, measure_name, quantity, role_words
from stats.findings import Finding, Group

_KEYS = ("role", "pair", "regime", "task", "budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """What one hypothesis' finding says: its verdict, the result, and what it means or does not mean."""

    id: str
    verdict: str
    result: str
    meaning: str


def sentence(finding: Finding) -> Sentence:
    """One hypothesis in a sentence or two."""
    return Sentence(id=finding.id, verdict=finding.verdict, result=_result(finding), meaning=_meaning(finding))


def named(group: Group, keys: tuple[str, ...] = _KEYS) -> str:
    """A group in words, as far as some keys of it go: `on local tasks (ioi, sva) after diffusion`."""
    parts = []
    if group.task and "task" in keys:
        parts.append(f"on {group.task}")
    elif group.regime and "regime" in keys:
        listed = f" ({', '.join(group.tasks)})" if group.tasks else ""
        parts.append(f"on {group.regime} tasks{listed}" if len(group.tasks) != 1 else f"on {group.tasks[0]}")
    if group.pair and "pair" in keys:
        parts.append(f"of {group.pair}")
    elif group.role and "role" in keys:
        parts.append(role_words(group.role))
    if group.budget and "budget" in keys:
        parts.append(f"at {group.budget}")
    return " ".join(parts)


def apart(groups: tuple[Group, ...]) -> tuple[str, ...]:
    """The keys in which groups differ."""
    return tuple(key for key in _KEYS if len({getattr(group, key) for group in groups}) > 1)


def asked_of(finding: Finding) -> str:
    """What is tested: the measure, or a difference in it, which is no value of the measure."""
    name = measure_name(finding.measure)
    if finding.along:
        name = f"{finding.along} of the {name}"
    if len(finding.groups) < 2:
        return name
    return f"difference in {'differences of ' if len(finding.groups) > 2 else ''}the {name}"


def _result(finding: Finding) -> str:
    name = _named_quantity(finding)
    if finding.estimate is None:
        return f"{_capital(asked_of(finding))} could not be estimated."
    signs = tuple(group.sign for group in finding.groups)
    if any(group.estimate is None for group in finding.groups) or signs not in _SAID:
        name = name if signs == (1,) or not finding.estimand else finding.estimand  # a contrast is no value of it
        return f"{_capital(name)}: {formats.number(finding.estimate)} ({_evidence(finding, plain=True)})."
    return _SAID[signs](finding, name)


def _alone(finding: Finding, name: str) -> str:
    (group,) = finding.groups
    where = _joined(named(group), _everywhere(group))
    assert finding.estimate is not None and group.estimate is not None
    text = f"{_capital(name)} {where}: {formats.number(group.estimate)}"
    ceiling = _ceiling(finding)
    if ceiling:
        edge = formats.compact(ceiling)
        than = f"{_amount(finding.estimate)} than {edge}" if finding.estimate else f"equal to {edge}"
        return f"{text}; that is {than} ({_evidence(finding)})."
    return f"{text} ({_evidence(finding, plain=True)}){_way(finding)}."


def _ceiling(finding: Finding) -> float:
    """What a single group's value is taken from; 0 where from nothing."""
    if len(finding.groups) != 1 or finding.test not in ("equivalence", "non_inferiority"):
        return 0.0
    (group,) = finding.groups
    return round((group.estimate or 0.0) - (finding.estimate or 0.0), 9)


def _against(finding: Finding, name: str) -> str:
    first, second = finding.groups
    keys = apart(finding.groups)
    common = _joined(named(first, tuple(key for key in _KEYS if key not in keys)), _everywhere(first, keys))
    assert finding.estimate is not None
    unlike = {"task", "regime"} & set(keys)
    sides = ", ".join(
        _joined(formats.number(group.estimate), named(group, keys), _everywhere(group) if unlike else "")
        for group in (first, second)
    )
    way = _way(finding)
    way = f"{way} than {named(second, keys)}" if way and keys else way  # both may have gone the other way
    far = f"{_amount(finding.estimate)} ({_evidence(finding)}){way}"
    return f"{_capital(_joined(name, common))}: {sides}; {far}."


def _twice(finding: Finding, name: str) -> str:
    """A difference in differences: (first - second) - (third - fourth), the outer contrast first."""
    one, two, three, _ = finding.groups
    outer, inner = apart((one, three)), apart((one, two))
    assert finding.estimate is not None
    here, there = named(one, outer), named(three, outer)
    values = [formats.number(group.estimate) for group in finding.groups]
    first = f"{values[0]} {named(one, inner)} and {values[1]} {named(two, inner)}"
    compared = f"{_amount(finding.estimate)} {here} than {there}" if finding.estimate else f"as large {here} as {there}"
    far = f"The first minus the second is {compared} ({_evidence(finding)})."
    return f"{_capital(name)} {here}: {first}; {there}: {values[2]} and {values[3]}. {far}"


_SAID = {(1,): _alone, (1, -1): _against, (1, -1, -1, 1): _twice}
"""Signs of the groups -> how they are spoken of; others have an estimate only."""


def _named_quantity(finding: Finding) -> str:
    name = quantity(finding.measure)
    name = f"{finding.location} of the {name}" if finding.location else name
    return f"{finding.along} of the {name} along the way" if finding.along else name


def _everywhere(group: Group, keys: tuple[str, ...] = ()) -> str:
    """That a group is over all tasks, where it is narrowed to none."""
    if group.task or group.regime or {"task", "regime"} & set(keys) or not group.tasks:
        return ""
    return f"on {group.tasks[0]}" if len(group.tasks) == 1 else f"on all tasks ({', '.join(group.tasks)})"


def _amount(value: float) -> str:
    if value == 0:
        return "no difference"
    return f"{formats.number(abs(value))} {'higher' if value > 0 else 'lower'}"


def _evidence(finding: Finding, *, plain: bool = False) -> str:
    """The interval and p; `plain` where the interval is of a value and not of a difference."""
    low, high, level = finding.shown
    parts = []
    if low is not None and high is not None:
        ends = f"{formats.number(low)} to {formats.number(high)}" if plain else _between(low, high)
        parts.append(f"{formats.confidence(level)} interval {ends}")
    if finding.verdict != "refuted" or finding.p_opposite_corrected is None:
        parts += [said] if (said := _p(finding)) else []
    if shows_opposite(finding):
        parts.append(f"the opposite claim has corrected {formats.p_statement(finding.p_opposite_corrected)}")
    return "; ".join(parts) if parts else "without an interval"


def _p(finding: Finding) -> str:
    """The p-value of the claim; empty where there is none."""
    if finding.p is None:
        return ""
    which, p = ("uncorrected", finding.p) if finding.p_corrected is None else ("corrected", finding.p_corrected)
    return f"{which} {formats.p_statement(p)}"


def shows_opposite(finding: Finding) -> bool:
    """Whether p of the opposite claim stands beside a verdict: of a refutation, or where the interval looks so."""
    if finding.p_opposite_corrected is None:
        return False
    return finding.verdict == "refuted" or (finding.verdict == "inconclusive" and _side(finding) == "opposite")


def _side(finding: Finding) -> str:
    """Where the whole interval lies: `claimed`, where the claim holds, or `opposite`; empty where it is in neither."""
    low, high, _ = finding.shown
    if low is None or high is None:
        return ""
    if finding.test == "equivalence":
        if finding.margin is None:
            return ""
        apart = low > finding.margin or high < -finding.margin
        return "opposite" if apart else "claimed" if low > -finding.margin and high < finding.margin else ""
    above, below = low > finding.null, high < finding.null
    if finding.alternative == "two-sided":
        return "claimed" if above or below else ""
    less = finding.alternative == "less"
    return "claimed" if (below if less else above) else "opposite" if (above if less else below) else ""


def _between(low: float, high: float) -> str:
    if low == high == 0:
        return "0 to 0"
    if low >= 0:
        return f"{formats.number(low)} to {formats.number(high)} higher"
    if high <= 0:
        return f"{formats.number(-high)} to {formats.number(-low)} lower"
    return f"{formats.number(-low)} lower to {formats.number(high)} higher"


def _way(finding: Finding) -> str:
    """Which way the estimate points, in the measure's own words, where the test has shown that."""
    if finding.along:
        return ""  # what a measure's own words say of a value, they do not say of a trend
    shown = finding.verdict in ("supported", "refuted") and finding.test in ("difference", "bound")
    if finding.every and finding.verdict == "refuted":
        return ""  # it is shown of one part, and the estimate is the average
    if not shown or not finding.estimate or (finding.test == "bound" and finding.null):
        return ""
    if len(finding.groups) == 1 and not is_shift(finding.measure):
        return ""  # of a property of the pair, zero is no model to compare with
    words = direction(finding.measure, finding.estimate)
    return f": {words}" if words not in ("lower", "higher") else ""


def _meaning(finding: Finding) -> str:
    if finding.estimate is None or finding.verdict == "not estimable":
        text = "No conclusion follows from this run."
    else:
        text = {"equivalence": _equivalence, "non_inferiority": _non_inferiority}.get(finding.test, _difference)(
            finding
        )
    if finding.status == "points only":
        text += " There are too few units for an interval."
    if finding.message:
        text += f" {formats.remark(finding.message)}"
    return text


def _difference(finding: Finding) -> str:
    claimed = _claimed(finding)
    bounded = bool(finding.null) or finding.alternative == "two-sided"
    it = "the difference" if len(finding.groups) > 1 and bounded else "it"
    if finding.verdict == "supported":
        each = f" in every {finding.every}" if finding.every else ""
        return f"{_capital(it)} is {claimed}{each}, as claimed, by more than chance would explain."
    if finding.verdict == "refuted":
        each = f" in one {finding.every} at least" if finding.every else ""
        return f"The claim was that {it} is {claimed}; the data show the opposite{each}."
    each = f" in every {finding.every}" if finding.every else ""
    return (
        f"Whether {it} is {claimed}{each} is not settled: this is absence of evidence, and does not show that nothing "
        f"changed.{_despite(finding, 'where the claim holds', 'opposite to the claim')}"
    )


def _despite(finding: Finding, claimed: str, opposite: str) -> str:
    """Why an interval that lies on one side whole is no verdict; empty where it lies on none."""
    side = _side(finding)
    if not side:
        return ""
    if finding.every:
        return f" The interval is that of the average; the claim is of every {finding.every}."
    where, p, of = claimed, finding.p_corrected, "the claim"
    if side == "opposite":
        where, p, of = opposite, finding.p_opposite_corrected, "the opposite"
    if p is None or p < 1 - finding.confidence:
        return ""
    return (
        f" The whole interval lies {where}, but {of} has corrected {formats.p_statement(p)}, too large for a verdict."
    )


def _claimed(finding: Finding) -> str:
    """What a difference or a bound claims of the value, or of the difference."""
    bound = formats.compact(finding.null) if finding.null else ""
    if finding.alternative == "two-sided":
        return f"other than {bound or 'zero'}"
    if bound or len(finding.groups) == 1:
        return f"{'below' if finding.alternative == 'less' else 'above'} {bound or 'zero'}"
    return "lower" if finding.alternative == "less" else "higher"


def _non_inferiority(finding: Finding) -> str:
    margin, edge = f"the margin of {formats.compact(finding.margin)}", formats.compact(finding.null)
    if len(finding.groups) == 1 and not _ceiling(finding):  # a value by itself is not lower than another one
        despite = _despite(finding, f"above {edge}", f"below {edge}")
        return {
            "supported": f"It is above {edge}, that is, not below zero by more than {margin} that was declared as no "
            "loss that matters.",
            "refuted": f"It is below {edge}, that is, below zero by more than {margin}.",
        }.get(finding.verdict, f"The data do not settle whether it is below {edge}.{despite}")
    if finding.verdict == "supported":
        return f"It is not lower by more than {margin} that was declared as no loss that matters."
    if finding.verdict == "refuted":
        return f"It is lower by more than {margin}."
    despite = _despite(finding, f"above {edge}", f"below {edge}")
    return f"The data do not settle whether it is lower by more than {margin}.{despite}"


def _equivalence(finding: Finding) -> str:
    margin = "the declared margin" if finding.margin is None else f"the margin of ±{formats.compact(finding.margin)}"
    if finding.verdict == "supported":
        return f"That lies within {margin} that was declared as no difference that matters."
    if finding.verdict == "refuted":
        return f"That lies outside {margin}: more than was declared negligible."
    despite = _despite(finding, f"within {margin}", f"outside {margin}")
    if despite:
        return f"Neither equivalence nor a difference beyond {margin} is shown.{despite}"
    return (
        f"The data are compatible with values inside and outside {margin}: "
        "neither equivalence nor a difference is shown."
    )


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
