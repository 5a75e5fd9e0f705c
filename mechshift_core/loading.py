"""Loading a model for attribution: read, and proven to be what its architecture's declaration says."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from mechshift_core.attribution.proof import prove
from mechshift_core.models import load
from mechshift_core.models.load import Model

Options = ParamSpec("Options")


def _proven(read: Callable[Options, Model]) -> Callable[Options, Model]:
    @wraps(read)
    def load_model(*args: Options.args, **options: Options.kwargs) -> Model:
        model = read(*args, **options)
        prove(model)
        return model

    return load_model


load_model = _proven(load.load_model)
