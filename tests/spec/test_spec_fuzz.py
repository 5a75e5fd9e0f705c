from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec_study import STUDY

from mechshift_core.spec import Spec, SpecError, load_spec

FRAGMENTS = tuple("[ ] { } : - & * << ! ? | > # % @ ` \" ' , \t \\ ~ 0x 1e9 .inf .nan true \u00e9 \x85 \x00".split(" "))
SECTIONS = tuple(field.alias or name for name, field in Spec.model_fields.items())
WORDS = (
    "name",
    "kind",
    "role",
    "to",
    "of",
    "regime",
    "contrast",
    "edge_attribution",
    "eap",
    "treatment",
    "local",
    "ioi",
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)


def load_text(folder: Path, content: bytes) -> None:
    """Load; SpecError is the one exception that may come, and it says something."""
    path = folder / "fuzz.yaml"
    path.write_bytes(content)
    try:
        load_spec(path)
    except SpecError as error:
        assert error.problems and str(error)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_spec_or_a_spec_error(shared: Path, content: bytes) -> None:
    load_text(shared, content)


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(
        st.tuples(st.integers(0, len(STUDY)), st.integers(0, 12), st.sampled_from(FRAGMENTS)), min_size=1, max_size=4
    )
)
def test_a_damaged_spec_is_a_spec_or_a_spec_error(shared: Path, cuts: list[tuple[int, int, str]]) -> None:
    text = STUDY
    for start, length, fragment in cuts:
        text = text[:start] + fragment + text[start + length :]
    load_text(shared, text.encode())


@settings(max_examples=30, deadline=None)
@given(
    data=st.dictionaries(
        st.sampled_from(SECTIONS),
        st.recursive(
            PLAIN,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
            max_leaves=12,
        ),
    )
)
def test_any_structure_is_a_spec_or_a_spec_error(shared: Path, data: dict[str, Any]) -> None:
    load_text(shared, json.dumps(data).encode())
