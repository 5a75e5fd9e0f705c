"""The section of a spec for edge attribution."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import AttributionMethod, Intervention

ON_PATH = ("eap-ig", "eap-ig-activations", "eap-ig-sources")
"""Methods with points on a path."""
WITHOUT_ROLES = {"exact": "patches an edge at all positions", "rank-average": "ranks edges over all positions"}
"""Method -> why it has no scores by token role."""
OPTIONS: dict[str, tuple[str, ...]] = {
    "steps": (*ON_PATH, "rank-average"),
    "quadrature": (*ON_PATH, "rank-average"),
    "draws": ("expected-gradients", "rank-average"),
    "methods": ("rank-average",),
}
"""Option -> the methods that have it."""


class EdgeAttribution(Intervention):
    """A score for every edge of the graph and every example: the circuit. All measures are computed from it."""

    kind: Literal["edge_attribution"]
    """`edge_attribution`."""
    method: AttributionMethod = "eap-ig"
    """Where, and by which rules, the gradient is taken: on the clean run (`eap`), along the path between the input
    embeddings (`eap-ig`), along the paths of all components in turn (`eap-ig-activations`) or of an edge's own source
    alone (`eap-ig-sources`), on the clean and the corrupted run (`clean-corrupted`), at random points of the path
    (`expected-gradients`), or on the clean run by the backward rules of GIM (`gim`) or of relevance patching (`relp`).
    `rank-average` is the mean rank by several of these; `exact` patches every edge instead, one run an edge."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 5
    """Points on the path (methods whose name begins with `eap-ig`)."""
    quadrature: Literal["left", "midpoint", "gauss-legendre"] = "midpoint"
    """Where the points lie on the path (methods whose name begins with `eap-ig`). `midpoint` came closest to the
    integral at five points (see the benchmarks); `gauss-legendre` does where the path is smooth; `left` is the rule of
    the reference implementation."""
    draws: Annotated[int, Field(ge=1, le=1000)] = 1
    """Random points of each prompt's path (method `expected-gradients`), drawn by the seed of the spec. With two or
    more, the variance over draws is stored beside the scores."""
    methods: tuple[AttributionMethod, ...] = ()
    """The methods whose ranks are averaged, two or more (method `rank-average`)."""
    by_role: bool = False
    """Whether scores are kept by token role too (subject, operator, ...), for the table `edge_roles`; not with `exact`
    or `rank-average`, and many times the disk space."""

    @property
    def run_by(self) -> tuple[AttributionMethod, ...]:
        """The methods that are run."""
        return self.methods if self.method == "rank-average" else (self.method,)

    @property
    def ranks_edges(self) -> bool:
        """See the base class."""
        return self.method == "rank-average"

    @property
    def on_path(self) -> bool:
        """Whether a gradient is taken along a path, at `steps` points."""
        return any(method in ON_PATH for method in self.run_by)

    @property
    def draws_points(self) -> bool:
        """Whether a gradient is taken at random points."""
        return "expected-gradients" in self.run_by

    @property
    def options(self) -> tuple[str, ...]:
        """The options that the scores depend on."""
        path = ("steps", "quadrature") if self.on_path else ()
        draws = ("draws",) if self.draws_points else ()
        return (*path, *draws, *(("methods",) if self.method == "rank-average" else ()))

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "by_role" if self.by_role else None
