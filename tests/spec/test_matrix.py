"""Entries that a matrix writes out: what they come to, and where errors of them are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mechshift_core.errors import UsageError
from mechshift_core.spec import Spec, load_spec
from mechshift_core.spec.editors import editor_schema
from mechshift_core.spec.overrides import parsed

ROOT = Path(__file__).parents[2]
SEEDS = "[0, 1, 2, 3, 4, 5]"


def by_hand() -> str:
    """The models and pairs of the study, each entry written out."""
    kinds = {"arm": "arm", "mdm": "mdm", "continued": "arm-continued"}
    paradigms = {"arm": "autoregressive", "mdm": "masked_diffusion", "continued": "autoregressive"}
    models = [
        f'  {kind}-s{seed}: {{source: "bundled:tiny-s{seed}/{folder}", paradigm: {paradigms[kind]}}}'
        for seed in range(6)
        for kind, folder in kinds.items()
    ]
    pairs = [
        f"  - {{name: {name}-s{seed}, before: arm-s{seed}, after: {after}-s{seed}, role: {role}, seed: {seed}}}"
        for seed in range(6)
        for name, after, role in (("diffusion", "mdm", "treatment"), ("control", "continued", "control"))
    ]
    pairs += [
        f"  - {{name: unrelated-s{seed}{to}, before: arm-s{seed}, after: arm-s{to}, role: unrelated, seed: {seed}}}"
        for seed, to in ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0))
    ]
    return "\n".join(("models:", *models, "pairs:", *pairs, ""))


@pytest.fixture
def text() -> str:
    return (ROOT / "specs" / "tiny-mechanism-shift.yaml").read_text()


@pytest.fixture
def short(tmp_path: Path, text: str) -> Path:
    """The study of the repository, which has a matrix."""
    path = tmp_path / "short.yaml"
    path.write_text(text)
    return path


def loaded(path: Path, *settings: str) -> Spec:
    return load_spec(path, check_files=False, overrides=parsed(settings))


def wrong(path: Path, *settings: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        loaded(path, *settings)
    return str(caught.value).splitlines()


def edited(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_a_matrix_comes_to_the_study_whose_entries_are_written_by_hand(short: Path, tmp_path: Path, text: str) -> None:
    long = tmp_path / "long.yaml"
    long.write_text(text[: text.index("matrix:")] + by_hand() + text[text.index("tasks:\n") :])
    one, other = (loaded(path).model_dump(mode="json") for path in (short, long))
    assert one.pop("matrix") == {"seed": [*range(6)]} and other.pop("matrix") == {}
    assert one["models"] == other["models"]
    for part in ("pairs", "tasks", "hypotheses"):
        assert sorted(one.pop(part), key=json.dumps) == sorted(other.pop(part), key=json.dumps)
    assert one == other
    assert loaded(short).expanded == {
        "models": tuple(f"{name}-s{seed}" for name in ("arm", "mdm", "continued") for seed in range(6)),
        "pairs": tuple(f"{name}-s{seed}" for name in ("diffusion", "control") for seed in range(6)),
    }
    assert loaded(long).expanded == {}


def test_what_is_stored_reads_as_the_same_study_and_axes_can_be_overridden(short: Path, tmp_path: Path) -> None:
    spec = loaded(short, f"matrix.seed={SEEDS}", "tasks.ioi.examples=10", "pairs.control-s2.seed=7")
    assert (spec.pair("control-s2").seed, spec.tasks[0].examples) == (7, 10)
    again = tmp_path / "again.yaml"
    again.write_text(spec.text)
    assert loaded(again).model_dump() == spec.model_dump()
    assert spec.text.startswith(short.read_text().rstrip("\n"))
    said = wrong(short, "matrix.seed=[0, 1]")
    assert any("unknown model 'arm-s2'" in line for line in said)
    assert wrong(short, "pairs.control-s6.seed=7")[0].startswith("--set pairs.control-s6.seed: 'pairs' has no entry")


def test_several_axes_make_combinations_and_values_keep_their_types(short: Path) -> None:
    edited(short, f"matrix: {{seed: {SEEDS}}}", f"matrix: {{seed: {SEEDS}, size: [10, 20], kind: [heads, mlps]}}")
    transfer = "{name: transfer, kind: circuit_transfer, of: circuit, size: 10}"
    edited(short, transfer, '{name: "transfer-${{ size }}", kind: circuit_transfer, of: circuit, size: "${{ size }}"}')
    attention = "{name: attention, kind: attention}"
    patched = '{name: "p-${{ kind }}-${{ size }}", kind: ablation, components: ["${{ kind }}"]}'
    edited(short, attention, patched)
    spec = loaded(short)
    assert spec.expanded["interventions"] == (
        *("transfer-10", "transfer-20"),
        *("p-heads-10", "p-mlps-10", "p-heads-20", "p-mlps-20"),
    )
    assert [spec.intervention(f"transfer-{size}").size for size in (10, 20)] == [10, 20]  # type: ignore[attr-defined]


WRONG = {
    "an axis that there is not": (
        "after: mdm-s${{ seed }}",
        "after: mdm-s${{ sed }}",
        "unknown axis 'sed' of the matrix (did you mean 'seed'?)",
    ),
    "an axis of nothing": (f"{SEEDS}}}", f"{SEEDS}, size: [1]}}", "no entry names the axis 'size'"),
    "an axis without values": (SEEDS, "[]", "expected at least 1 item"),
    "values that are no scalars": (SEEDS, "[[0], 1]", "expected "),
    "no list of values": (f"{{seed: {SEEDS}}}", "{seed: 3}", "expected a list, got 3"),
    "no mapping of axes": (f"{{seed: {SEEDS}}}", "[seed]", "expected a mapping, got a list"),
    "one name for several": ("name: diffusion-s${{ seed }}", "name: diffusion", "duplicate name 'diffusion' in pairs"),
    "one key for several": ("mdm-s${{ seed }}:", "mdm:", "the matrix gives the name 'mdm' to more than one entry"),
    "a wrong value in one": ("role: treatment", "role: treatmnt", "(did you mean 'treatment'?)"),
    "elsewhere": ("title: ", "title: ${{ seed }} ", "only entries of models, pairs, trajectories"),
    "too many": (SEEDS, f"[{', '.join(map(str, range(201)))}]", "expected at most 200 items, got 201"),
}
"""What is wrong -> what is replaced by what, and what is said."""


@pytest.mark.parametrize("case", WRONG)
def test_errors_are_told_at_the_entry_that_is_written_out(short: Path, case: str) -> None:
    old, new, message = WRONG[case]
    edited(short, old, new)
    said = [line for line in wrong(short) if line.startswith(f"{short}:")]
    assert any(message in line for line in said), said
    lines = short.read_text().splitlines()
    changed = next(number for number, line in enumerate(lines, start=1) if new.splitlines()[0] in line)
    places = [int(re.findall(r":(\d+):\d+: ", line)[0]) for line in said if message in line]
    assert all(abs(place - changed) <= 3 for place in places), (changed, said)


def test_too_many_combinations_are_refused_before_they_are_made(short: Path) -> None:
    many = "[" + ", ".join(map(str, range(200))) + "]"
    edited(short, f"{{seed: {SEEDS}}}", f"{{seed: {SEEDS}, a: {many}, b: {many}, c: {many}}}")
    edited(short, "name: diffusion-s${{ seed }}", "name: d-${{ seed }}-${{ a }}-${{ b }}-${{ c }}")
    assert any("the matrix makes 48000000 entries of this one: too many" in line for line in wrong(short))


def test_without_a_matrix_nothing_is_written_out(short: Path) -> None:
    edited(short, f"matrix: {{seed: {SEEDS}}}", "")
    assert any("'diffusion-s${{ seed }}'" in line for line in wrong(short))


def test_editors_take_axes_in_entries() -> None:
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(editor_schema())
    from mechshift_core.spec.tree import read_document

    short = read_document((ROOT / "specs" / "tiny-mechanism-shift.yaml").read_text()).data
    assert [error.message for error in validator.iter_errors(short)] == []
    assert isinstance(short, dict)
    short["pairs"][0]["seed"] = "three"
    assert len([*validator.iter_errors(short)]) == 1
