"""The section of a spec for edge attribution."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import Intervention


class EdgeAttribution(Intervention):
    """A score for every edge of the graph and every example: the circuit. All measures are computed from it."""

    kind: Literal["edge_attribution"]
    """`edge_attribution`."""
    method: Literal["eap", "eap-ig", "clean-corrupted", "exact"] = "eap-ig"
    """Where the gradient is taken: on the clean run (`eap`), along the path between the input embeddings (`eap-ig`),
    or on the clean and the corrupted run (`clean-corrupted`); `exact` patches every edge instead, one run an edge."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 5
    """Points on the path (method `eap-ig` only)."""
    quadrature: Literal["left", "midpoint", "gauss-legendre"] = "midpoint"
    """Where the points lie on the path (method `eap-ig` only). `midpoint` came closest to the integral at five points
    (see the benchmarks); `gauss-legendre` does where the path is smooth; `left` is the rule of the reference
    implementation."""
    by_role: bool = False
    """Whether scores are kept by token role too (subject, operator, ...), for the table `edge_roles`; not with `exact`,
    and many times the disk space."""

    @property
    def on_path(self) -> bool:
        """Whether the gradient is taken along the path, at `steps` points."""
        return self.method == "eap-ig"

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "by_role" if self.by_role else None
