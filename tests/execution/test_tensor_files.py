"""Tensors go to disk row by row and come back block by block, in the format that safetensors reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from mechshift_core.execution.scores import EdgeScoreStore, SelectedScores
from mechshift_core.execution.stream import TensorFile, open_tensors
from stats import retention_index


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.integers(0, 7), st.randoms(use_true_random=False))
def test_rows_written_in_any_order_are_what_safetensors_reads(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, draw: object
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "x.safetensors"
    scores = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    predicted = np.arange(rows, dtype=np.int64) - 3
    order = list(range(rows))
    draw.shuffle(order)  # type: ignore[attr-defined]
    with TensorFile(path, {"scores": (np.float32, scores.shape), "predicted": (np.int64, (rows,))}) as file:
        for part in (order[: rows // 2], order[rows // 2 :]):
            file.write("scores", part, scores[part])
            file.write("predicted", part, predicted[part])
    for read in (load_file(path), open_tensors(path)):
        assert set(read) == {"scores", "predicted"}
        np.testing.assert_array_equal(read["scores"], scores)
        np.testing.assert_array_equal(read["predicted"], predicted)


@pytest.mark.parametrize(
    ("name", "rows", "values", "message"),
    [
        ("scores", [0], np.zeros((1, 4), np.float32), r"scores: expected float32 \[1, 3\], got float32 \[1, 4\]"),
        ("scores", [0, 1], np.zeros((1, 3), np.float32), r"expected float32 \[2, 3\], got float32 \[1, 3\]"),
        ("scores", [0], np.zeros((1, 3)), r"expected float32 \[1, 3\], got float64"),
        ("scores", [5], np.zeros((1, 3), np.float32), r"rows \[5\] are not all among its 5"),
        ("scores", [-1], np.zeros((1, 3), np.float32), r"rows \[-1\] are not all among its 5"),
        ("score", [0], np.zeros((1, 3), np.float32), r"score: the file has no such tensor \(it has scores\)"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, rows: list[int], values: object, message: str
) -> None:
    with (
        pytest.raises(ValueError, match=message),
        TensorFile(tmp_path / "x.safetensors", {"scores": (np.float32, (5, 3))}) as file,
    ):
        file.write(name, rows, values)  # type: ignore[arg-type]


def test_a_row_that_is_never_written_is_noticed(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"scores: 2 row\(s\) were never written"),
        TensorFile(tmp_path / "x.safetensors", {"scores": (np.float32, (5, 3))}) as file,
    ):
        file.write("scores", slice(1, 4), np.zeros((3, 3), np.float32))


@pytest.mark.parametrize("layout", [(np.float64, (2,)), (np.float32, ())])
def test_types_and_shapes_that_are_not_supported_are_refused(tmp_path: Path, layout: object) -> None:
    with pytest.raises(ValueError, match="expected float32 or int64 of at least one dimension"):
        TensorFile(tmp_path / "x.safetensors", {"scores": layout})  # type: ignore[dict-item]


def store_of(folder: Path, scores: np.ndarray, cuts: list[int]) -> EdgeScoreStore:  # type: ignore[type-arg]
    """The scores in several files, written by safetensors itself."""
    files = []
    for number, part in enumerate(np.split(scores, cuts)):
        files.append(folder / f"{number}.safetensors")
        save_file({"scores": np.ascontiguousarray(part)}, files[-1])
    return EdgeScoreStore(files)


@pytest.mark.parametrize("per_block", [1, 3, 11, 100])
@pytest.mark.parametrize("selected", [[0, 1, 2, 3, 4, 5, 6], [6, 2, 4], []])
def test_reading_in_blocks_is_reading_the_whole(tmp_path: Path, per_block: int, selected: list[int]) -> None:
    scores = np.random.default_rng(0).normal(size=(7, 11)).astype(np.float32)
    store = store_of(tmp_path, scores, [3, 4])
    assert store.shape == (7, 11)
    blocks = list(store.blocks(selected, per_block))
    assert [part.start for part, _ in blocks] == list(range(0, 11, per_block))
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks], axis=1), scores[selected])
    np.testing.assert_array_equal(store.rows(selected), scores[selected])
    np.testing.assert_array_equal(np.array(list(store.each(selected))).reshape(-1, 11), scores[selected])


def test_the_mean_is_taken_in_double_precision(tmp_path: Path) -> None:
    scores = np.random.default_rng(1).normal(size=(50, 4, 6)).astype(np.float32) + 1000
    store = store_of(tmp_path, scores, [20])
    np.testing.assert_allclose(store.mean(range(50)), scores.astype(np.float64).mean(0), rtol=1e-13)
    with pytest.raises(ValueError, match="no examples"):
        store.mean([])
    with pytest.raises(ValueError, match="edges_per_block: expected at least 1, got 0"):
        next(store.blocks([0], 0))


@pytest.mark.parametrize("block_bytes", [4 * 12 * 50, 2**26])
def test_retention_of_stored_scores_is_that_of_scores_in_memory(tmp_path: Path, block_bytes: int) -> None:
    rng = np.random.default_rng(1)
    mean = np.exp(rng.standard_normal(300))
    selected, stores, arrays = np.array([0, 1, 3, 4, 5, 6, 8, 9, 10, 12, 13, 14]), [], []
    for name in ("before", "after"):
        scores = (mean + rng.standard_normal((15, 300))).astype(np.float32)
        (tmp_path / name).mkdir()
        stores.append(SelectedScores(store_of(tmp_path / name, scores, [4, 9]), selected))
        arrays.append(scores[selected])
        np.testing.assert_allclose(stores[-1].mean(), arrays[-1].mean(axis=0, dtype=np.float64))
    options = {"top_k": [10, 30], "splits": 5, "replicates": 40, "examples": selected, "total": 15}
    stored = retention_index(*stores, **options, block_bytes=block_bytes)
    in_memory = retention_index(*arrays, **options)
    assert stored.status == "ok" and stored.by_k == in_memory.by_k
    np.testing.assert_array_equal(stored.replicates, in_memory.replicates)
