"""From a test to a verdict: the rule, in one place.

The claim is the alternative of the test. `p` below is the p-value corrected within the family, the interval is the
two-sided one at the declared confidence (uncorrected).

Difference:
    `supported`       p < alpha.
    `refuted`         a one-sided claim whose opposite is shown: the whole interval lies on the other side of zero.
    `inconclusive`    anything else. A two-sided claim is never refuted: absence of significance is not absence of a
                      difference, which is what an equivalence test is for.

Equivalence:
    `supported`       p < alpha, p of the two one-sided tests.
    `refuted`         the whole interval lies outside the margin, on one side.
    `inconclusive`    anything else.

Non-inferiority:
    As a difference: the claim is that the quantity is greater than minus the margin.

Bound:
    As a difference, from the bound instead of zero.

Any:
    `not estimable`   there is no p-value or no usable estimate; the finding's status says why.
"""

from __future__ import annotations

from stats.findings import Status, Verdict
from stats.hypothesis_tests import Alternative
from stats.options import Limit, Positive, Probability, Share, checked


@checked
def difference_verdict(
    *,
    p: Probability | None,
    low: Limit | None,
    high: Limit | None,
    alternative: Alternative,
    alpha: Share = 0.05,
    null: float = 0.0,
    status: Status = "ok",
) -> Verdict:
    """Verdict on a claimed difference.

    Args:
        p: Corrected p-value of the stated alternative.
        low: Lower end of the two-sided interval; None if there is none (then nothing is refuted).
        high: Upper end.
        alternative: The claim: `two-sided`, `less` or `greater`.
        alpha: Level.
        null: Value that means no difference.
        status: Status of the finding.
    """
    if p is None or status != "ok":
        return "not estimable"
    if p < alpha:
        return "supported"
    if (alternative == "less" and low is not None and low > null) or (
        alternative == "greater" and high is not None and high < null
    ):
        return "refuted"
    return "inconclusive"


@checked
def equivalence_verdict(
    *,
    p: Probability | None,
    low: Limit | None,
    high: Limit | None,
    margin: Positive,
    alpha: Share = 0.05,
    status: Status = "ok",
) -> Verdict:
    """Verdict on a claimed equivalence within -margin..margin.

    Args:
        p: Corrected p-value of the two one-sided tests.
        low: Lower end of the two-sided interval; None if there is none (then nothing is refuted).
        high: Upper end.
        margin: Half-width of the equivalence region, > 0.
        alpha: Level.
        status: Status of the finding.
    """
    if p is None or status != "ok":
        return "not estimable"
    if p < alpha:
        return "supported"
    if (low is not None and low > margin) or (high is not None and high < -margin):
        return "refuted"
    return "inconclusive"
