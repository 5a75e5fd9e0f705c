"""The kinds of this package, by sort: each is a room of its own, and this is the list of rooms."""

from __future__ import annotations

from typing import Any

from mechshift_core.interventions.ablation import ABLATION, INTEGRATION
from mechshift_core.interventions.activation_patching import ACTIVATION_PATCHING
from mechshift_core.interventions.attention import ATTENTION
from mechshift_core.interventions.circuits import CIRCUIT_PATCHING, CIRCUIT_TRANSFER
from mechshift_core.interventions.cross_patching import CROSS_PATCHING
from mechshift_core.interventions.denoising_path import DENOISING_PATH
from mechshift_core.interventions.edge_attribution import EDGE_ATTRIBUTION
from mechshift_core.interventions.logit_lens import ALIGNMENT, LOGIT_LENS
from mechshift_core.interventions.movement import MOVEMENT, WEIGHT_MOVEMENT
from mechshift_core.interventions.neurons import NEURONS
from mechshift_core.interventions.probe import PROBE
from mechshift_core.interventions.targeted_ablation import TARGETED_ABLATION
from mechshift_core.interventions.weight_interpolation import WEIGHT_INTERPOLATION
from mechshift_core.kinds.intervention import InterventionKind
from mechshift_core.kinds.measure import MeasureKind
from mechshift_core.measures.depth import DEPTH
from mechshift_core.measures.overlap import OVERLAP
from mechshift_core.measures.specialization import SPECIALIZATION

INTERVENTIONS: tuple[InterventionKind[Any], ...] = (
    EDGE_ATTRIBUTION,
    CIRCUIT_PATCHING,
    CIRCUIT_TRANSFER,
    ACTIVATION_PATCHING,
    ABLATION,
    TARGETED_ABLATION,
    ATTENTION,
    PROBE,
    NEURONS,
    LOGIT_LENS,
    MOVEMENT,
    WEIGHT_MOVEMENT,
    CROSS_PATCHING,
    WEIGHT_INTERPOLATION,
    DENOISING_PATH,
)
MEASURES: tuple[MeasureKind[Any], ...] = (OVERLAP, DEPTH, SPECIALIZATION, INTEGRATION, ALIGNMENT)
