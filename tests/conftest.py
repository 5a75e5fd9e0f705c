"""Fixtures that several packages' tests share."""

from __future__ import annotations

import json

import pytest
from oracle_models import ORACLES, Oracle


@pytest.fixture(params=["gpt2-2l", "qwen2-gqa-2l", "qwen2-bidirectional-2l"])
def oracle(request: pytest.FixtureRequest) -> Oracle:
    folder = ORACLES / request.param
    return Oracle(folder, json.loads((folder / "oracle.json").read_text()))
