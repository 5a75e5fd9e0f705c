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
same: dict[str, Any] = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", max_examples=40, **same)
settings.register_profile("thorough", max_examples=1000, **same)  # pytest --hypothesis-profile=thorough
settings.load_profile("repeatable")

DRAWN = ("reports", "gate", "tests")
"""Folders of tests whose reports have their drawings."""
known_drawings: dict[str, str] = {}


BLANK = '<svg width="1" height="1" viewBox="0 0 1 1"><g/></svg>'


@pytest.fixture(autouse=True, scope="module")
def drawings(request: pytest.FixtureRequest) -> Iterator[None]:
    """Charts are drawn where reports are tested, the same chart once a process; reports of other tests have blanks.

    Hundreds of tests write a report, and drawings would take a third of their time.
    """
    import vl_convert

    draw, wanted = vl_convert.vegalite_to_svg, request.path.parent.name in DRAWN

    def drawn(chart: dict[str, Any], **options: Any) -> str:
        if not wanted:
            return BLANK
        key = json.dumps([chart, options], sort_keys=True)
        if key not in known_drawings:
            known_drawings[key] = draw(chart, **options)
        return known_drawings[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vl_convert, "vegalite_to_svg", drawn)
        yield


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was fetched, converted or computed on this machine is no part of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MECHSHIFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MECHSHIFT_CELLS", "none")
        patch.delenv("MECHSHIFT_CELLS_LIMIT", raising=False)
        yield


@pytest.fixture
def own_kinds() -> Iterator[None]:
    """Kinds that are registered within a test are forgotten after it."""
    from mechshift_core.kinds.extensions import activate

    yield
    activate(())


@pytest.fixture(autouse=True, scope="session")
def few_random_graphs() -> Iterator[None]:
    """A study in a test draws few random graphs: they would take most of its time, and are tested by themselves."""
    from mechshift_core.interventions.ablation import graph

    with pytest.MonkeyPatch.context() as patch:
        for name, number in (("DRAWS", 10), ("PATHS", 20), ("PARTITIONS", 20)):
            patch.setattr(graph, name, number)
        yield


@pytest.fixture(params=["gpt2-2l", "qwen2-gqa-2l", "qwen2-bidirectional-2l"])
def oracle(request: pytest.FixtureRequest) -> Oracle:
    folder = ORACLES / request.param
    return Oracle(folder, json.loads((folder / "oracle.json").read_text()))
