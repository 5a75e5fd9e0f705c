"""What this version implements of the grammar, in one place.

The grammar is wider than the tool. What a spec asks for and the tool does not do yet is refused by name when the spec
is validated, never ignored. Adding a kind means adding its name here.
"""

from __future__ import annotations

IMPLEMENTED: dict[str, tuple[object, ...]] = {
    "intervention kind": (
        "edge_attribution",
        "circuit_patching",
        "circuit_transfer",
        "activation_patching",
        "ablation",
        "logit_lens",
        "targeted_ablation",
        "attention",
        "probe",
        "neurons",
    ),
    "edge attribution method": ("eap", "eap-ig", "clean-corrupted", "exact"),
    "quadrature": ("left", "midpoint", "gauss-legendre"),
    "measure": ("overlap", "depth", "specialization", "integration", "alignment"),
    "hypothesis measure": (
        "overlap",
        "retention",
        "depth_slope",
        "early_share",
        "specialization",
        "integration",
        "alignment",
        "transfer",
        "faithfulness",
        "targeted",
        "right_context",
        "decision_time",
    ),
    "selection": ("both", "before", "any", "none"),
    "prompt unit": ("random",),
    "template unit": ("fixed", "random"),
    "seed unit": ("fixed", "random"),
    "bootstrap method": ("studentized", "percentile", "bca"),
    "model source": ("bundled", "local", "hf"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "device": ("auto", "cpu", "cuda"),
    "engine": ("local",),
}
"""Subject -> the values that work."""


def refusal(subject: str, value: object) -> str | None:
    """Why a value of the grammar is refused; None where it works."""
    works = IMPLEMENTED[subject]
    if value in works:
        return None
    listed = ", ".join(map(_plain, works))
    return f"{subject} {_shown(value)} is not implemented in this version (implemented: {listed})"


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, tuple) else str(value)
