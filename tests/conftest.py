"""Fixtures that several packages' tests share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

# Before anything that computes is imported: tests share the cores by processes, and each has its own.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings
from oracle_models import ORACLES, Oracle

# The same examples in every run, and no time limit for them on a slow or busy machine.
settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def drawn_once() -> Iterator[None]:
    """The same chart is drawn once in a process: hundreds of tests write the report of the same study."""
    import vl_convert

    draw, known = vl_convert.vegalite_to_svg, dict[str, str]()

    def drawn(chart: dict[str, Any], **options: Any) -> str:
        key = json.dumps([chart, options], sort_keys=True)
        if key not in known:
            known[key] = draw(chart, **options)
        return known[key]

    vl_convert.vegalite_to_svg = drawn
    yield
    vl_convert.vegalite_to_svg = draw


@pytest.fixture(autouse=True, scope="session")
def few_random_graphs() -> Iterator[None]:
    """A study in a test draws few random graphs: they would take most of its time, and are tested by themselves."""
    from mechshift_core.analysis import component_graph

    with pytest.MonkeyPatch.context() as patch:
        for name, number in (("DRAWS", 10), ("PATHS", 20), ("PARTITIONS", 20)):
            patch.setattr(component_graph, name, number)
        yield


@pytest.fixture(params=["gpt2-2l", "qwen2-gqa-2l", "qwen2-bidirectional-2l"])
def oracle(request: pytest.FixtureRequest) -> Oracle:
    folder = ORACLES / request.param
    return Oracle(folder, json.loads((folder / "oracle.json").read_text()))
