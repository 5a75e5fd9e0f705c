"""From a test to a verdict: the rule, in one place.

The claim is the alternative of the test. `p` below is the p-value of the claim and `p_opposite` that of its opposite,
both corrected within the family: a refutation is a claim too.

Difference:
    `supported`       p < alpha.
    `refuted`         a one-sided claim whose opposite is shown: p_opposite < alpha. Uncorrected, that is where the
                      whole two-sided interval lies on the other side of the null.
    `inconclusive`    anything else. A two-sided claim is never refuted: absence of significance is not absence of a
                      difference, which is what an equivalence test is for.

Equivalence:
    `supported`       p < alpha, p of the two one-sided tests.
    `refuted`         p_opposite < alpha: uncorrected, where the whole interval lies outside the margin, on one side.
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
from stats.options import Probability, Share, checked


@checked
def claim_verdict(
    *,
    p: Probability | None,
    p_opposite: Probability | None,
    alpha: Share = 0.05,
    status: Status = "ok",
) -> Verdict:
    """Verdict on a claim.

    Args:
        p: Corrected p-value of the claim.
        p_opposite: Corrected p-value of the opposite claim (`TestResult.p_opposite`); None if it has none, and then
            nothing is refuted.
        alpha: Level.
        status: Status of the finding.
    """
    if p is None or status != "ok":
        return "not estimable"
    if p < alpha:
        return "supported"
    return "refuted" if p_opposite is not None and p_opposite < alpha else "inconclusive"
