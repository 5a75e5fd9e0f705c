"""The methods of edge attribution, by name: as a spec asks for them, and as they are computed."""

from __future__ import annotations

from typing import Literal

AttributionMethod = Literal[
    "eap",
    "eap-ig",
    "eap-ig-activations",
    "eap-ig-sources",
    "clean-corrupted",
    "expected-gradients",
    "gim",
    "relp",
    "rank-average",
    "exact",
]
