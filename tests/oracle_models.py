"""Small random models with the scores that the reference implementation of EAP-IG gives them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ORACLES = Path(__file__).parent / "data" / "oracle"


@dataclass(frozen=True)
class Oracle:
    """A checkpoint folder and its reference scores."""

    folder: Path
    content: dict[str, Any]

    @property
    def paradigm(self) -> str:
        return "masked_diffusion" if self.content["bidirectional"] else "autoregressive"

    @property
    def group(self) -> int:
        return int(self.content["n_heads"] // self.content["n_kv_heads"])

    def grouped(self, scores: list[float] | dict[str, float]) -> dict[str, float]:
        """Scores by edge, those of query heads that share a key/value head summed."""
        by_edge = scores if isinstance(scores, dict) else dict(zip(self.content["edges"], scores, strict=True))
        summed: dict[str, float] = {}
        for edge, score in by_edge.items():
            source, target = edge.split("->")
            if self.group > 1 and target.endswith(("<k>", "<v>")):
                layer, head = target[:-3].split(".h")
                target = f"{layer}.kv{int(head) // self.group}{target[-3:]}"
            summed[f"{source}->{target}"] = summed.get(f"{source}->{target}", 0.0) + score
        return summed
