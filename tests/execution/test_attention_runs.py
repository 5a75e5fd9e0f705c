"""Attention in a run: what is stored and in the table, against the attentions of a plain pass through the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from intervention_study import cells, lines, table, write_effective_study
from studies import ATTRIBUTION, write_study

from mechshift_core import load_model, load_spec, run
from mechshift_core.spec import SpecError

pytestmark = pytest.mark.long

LOOKS: dict[str, object] = {"name": "looks", "kind": "attention"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attention")
    path = write_effective_study(folder, interventions=[ATTRIBUTION, LOOKS], diffusion=True)
    assert run(path, out=folder / "out").failures == ()
    return folder


def from_read(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Attention of a plain pass from the position read to the right and to the last token, [examples, layers, heads].

    A masked diffusion model sees its mask after the prompt; both models are read at the prompt's last token.
    """
    import torch

    diffusion = name == "after"
    model = load_model(
        folder / name, paradigm="masked_diffusion" if diffusion else "autoregressive", device="cpu", attention="eager"
    )
    right, own = [], []
    for row in lines(folder):
        ids = [*row["clean_ids"], *([39] if diffusion else [])]
        with torch.no_grad():
            output = model.module(input_ids=torch.tensor([ids]), use_cache=False, output_attentions=True)
        at = len(row["clean_ids"]) - 1
        looked = torch.stack(output.attentions)[:, 0, :, at]
        right.append(looked[..., at + 1 :].sum(-1).numpy())
        own.append(looked[..., at].numpy())
    return np.stack(right), np.stack(own)


@pytest.mark.parametrize("name", ["before", "after"])
def test_the_table_holds_the_attention_of_a_plain_pass(name: str, finished: Path) -> None:
    chosen = table(finished / "out", "examples").filter(
        (pl.col("pair") == "shift") & (pl.col("side") == name) & pl.col("selected")
    )["example"]
    right, own = (found[chosen.to_list()] for found in from_read(finished, name))
    rows = table(finished / "out", "attention").filter(
        (pl.col("pair") == "shift") & (pl.col("side") == name) & (pl.col("from_role") == "(read)")
    )
    assert rows["n"].unique().to_list() == [len(chosen)]
    for to, expected in (("(right)", right), ("(self)", own)):
        for row in rows.filter(pl.col("to_role") == to).iter_rows(named=True):
            of_layer = expected[:, row["layer"]]
            values = of_layer.mean(1) if row["head"] is None else of_layer[:, row["head"]]
            assert row["mass"] == pytest.approx(values.mean(), abs=1e-5)
    masks = rows.filter((pl.col("to_role") == "mask") & pl.col("head").is_not_null())["mass"].to_numpy()
    np.testing.assert_allclose(masks, right.mean(0).ravel(), atol=1e-5)


def test_a_shift_is_after_minus_before_with_a_corrected_p(finished: Path) -> None:
    rows = table(finished / "out", "attention").filter(pl.col("pair") == "shift")
    keys = ["layer", "head", "from_role", "to_role"]
    sides = {side: rows.filter(pl.col("side") == side) for side in ("before", "after", "shift")}
    both = sides["before"].join(sides["after"], on=keys, nulls_equal=True, suffix="_after")
    joined = sides["shift"].join(both, on=keys, nulls_equal=True, suffix="_before")
    assert len(joined) == len(sides["shift"]) > 0
    apart = joined["mass_after"] - joined["mass_before"] - joined["mass"]
    same = joined.filter(pl.col("n") == pl.col("n_before"))
    assert len(same) > 0 and float(apart.filter(joined["n"] == joined["n_before"]).abs().max()) < 1e-6
    assert (same["low"].drop_nulls() <= same["mass"].filter(same["low"].is_not_null())).all()
    tested = sides["shift"].filter(pl.col("p_corrected").is_not_null())
    assert set(tested["from_role"]) == {"(read)"} and tested["head"].null_count() == 0
    assert len(rows.filter((pl.col("side") != "shift") & pl.col("p_corrected").is_not_null())) == 0
    found = {(row["layer"], row["head"], row["to_role"]): row["p_corrected"] for row in tested.iter_rows(named=True)}
    assert found == pytest.approx(corrected_by_hand(finished))


def corrected_by_hand(folder: Path) -> dict[tuple[int, int, str], float]:
    """(layer, head, to_role) -> p of the change from the position read, by SciPy, from the stored cells."""
    from scipy import stats

    examples = table(folder / "out", "examples").filter((pl.col("pair") == "shift") & pl.col("selected"))
    chosen = examples.filter(pl.col("side") == "after")["example"].to_list()
    masses: dict[str, dict[str, np.ndarray]] = {}  # type: ignore[type-arg]
    for name in ("before", "after"):
        (description, tensors), *_ = cells(folder / "out", intervention="looks", model=name)
        to = [*description["roles"], "(left)", "(self)", "(right)"]
        read = tensors["mass"][:, :, 0][..., chosen].astype(np.float64)
        masses[name] = {role: read[:, :, at] for at, role in enumerate(to)}
    p = {}
    for role in masses["before"] | masses["after"]:
        change = masses["after"].get(role, np.zeros(1)) - masses["before"].get(role, np.zeros(1))
        for layer, head in np.ndindex(2, 4):
            if np.ptp(change[layer, head]) > 0:
                p[layer, head, role] = stats.ttest_1samp(change[layer, head], 0).pvalue
    return dict(zip(p, stats.false_discovery_control(list(p.values())), strict=True))


def test_a_causal_pair_looks_nowhere_to_the_right(finished: Path) -> None:
    rows = table(finished / "out", "attention").filter((pl.col("pair") == "control") & (pl.col("to_role") == "(right)"))
    assert (rows["mass"] == 0).all() and (rows["uniform"] == 0).all() and rows["p_corrected"].null_count() == len(rows)


def test_the_cell_says_which_kernel_gave_the_attention(finished: Path) -> None:
    (description, tensors), *_ = cells(finished / "out", intervention="looks", model="after")
    assert description["attention"] == "eager"
    assert tensors["mass"].shape == (2, 4, 1 + len(description["roles"]), len(description["roles"]) + 3, 12)


def test_attention_by_confidence_is_refused(tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    path = write_study(tmp_path, interventions=[ATTRIBUTION, LOOKS], diffusion=True)
    content = YAML().load(path.read_text())
    content["denoising"] = {"reveal": "confidence"}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    with pytest.raises(SpecError, match="token roles need reveal: left_to_right or all_masked"):
        load_spec(path)


STUDY: dict[str, object] = {
    "schema": "mechshift/v1",
    "name": "revealed",
    "seed": 3,
    "models": {
        "arm": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"},
        "mdm": {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion"},
    },
    "pairs": [{"name": "diffusion", "before": "arm", "after": "mdm", "role": "treatment", "seed": 0}],
    "tasks": [{"name": "countdown", "examples": 12}],
    "select": {"correct": "none"},
    "interventions": [ATTRIBUTION, {**LOOKS, "completion": True}],
    "denoising": {"steps": [5, 1]},
    "measures": {"depth": {}},
    "hypotheses": [{"id": "seen", "measure": "revealed_share", "test": {"kind": "difference"}}],
    "statistics": {"bootstrap": {"replicates": 100}},
    "execution": {"device": "cpu"},
}


def write_revealed(folder: Path, **changes: object) -> Path:
    from ruamel.yaml import YAML

    with (folder / "revealed.yaml").open("w") as handle:
        YAML().dump({**STUDY, **changes}, handle)
    return folder / "revealed.yaml"


def test_attention_to_the_answer_is_split_by_what_is_revealed_in_a_state(tmp_path: Path) -> None:
    import torch

    from mechshift_core.execution.plan import make_plan
    from mechshift_core.execution.reading import Reading, completed, states_of

    path = write_revealed(tmp_path)
    made = run(path, out=tmp_path / "out")
    assert made.failures == ()
    examples = make_plan(load_spec(path)).datasets["countdown"].examples
    shares = {}
    for side, name, paradigm in (("before", "arm", "autoregressive"), ("after", "mdm", "masked_diffusion")):
        model = load_model(f"bundled:tiny-s0/{name}", paradigm=paradigm, device="cpu", attention="eager")  # type: ignore[arg-type]
        parts = np.zeros((len(examples), 3))
        for number, one in enumerate(examples):
            (states,) = states_of(model, [one], Reading(steps=5))
            begin = len(one.clean_ids) - one.revealed
            for state, weight in states:
                ids = torch.tensor([completed(one, state, model.mask_token_id)])
                with torch.no_grad():
                    output = model.module(input_ids=ids, use_cache=False, output_attentions=True)
                looked = torch.stack(output.attentions)[:, 0, :, len(one.clean_ids) - 1].mean((0, 1))
                shown = begin + sum(state)  # from left to right
                split = looked[:begin].sum(), looked[begin:shown].sum(), looked[shown:].sum()
                parts[number] += weight * np.array([float(value) for value in split])
        rows = table(tmp_path / "out", "attention_parts").filter((pl.col("side") == side) & (pl.col("budget") == "5"))
        assert rows["part"].to_list() == ["prompt", "revealed", "masked"]
        np.testing.assert_allclose(rows["mass"], parts.mean(0), atol=1e-5)
        assert rows["mass"].sum() == pytest.approx(1, abs=1e-5)
        assert rows["uniform"].sum() == pytest.approx(1, abs=1e-5)
        shares[side] = parts[:, 1]
    (finding,) = made.findings.hypotheses
    assert finding.estimate == pytest.approx((shares["after"] - shares["before"]).mean(), abs=1e-5)
    (other,) = made.findings.alternatives
    assert "nothing of an answer is revealed in any state at '1'" in other.hypotheses[0].message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interventions": [ATTRIBUTION, LOOKS]}, "measure 'revealed_share' needs `completion: true` of the attention"),
        ({"denoising": {"steps": 1}}, "measure 'revealed_share' is exactly 0 at 1: nothing of an answer is revealed"),
    ],
)
def test_a_share_of_what_is_not_revealed_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(write_revealed(tmp_path, **changes))
    assert error.value.problems[0].message.startswith(message)
