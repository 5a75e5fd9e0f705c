from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from spec_study import STUDY

from mechshift_core.spec import Problem, Spec, SpecError, load_model_file, load_spec
from mechshift_core.spec.tree import MAX_DEPTH, Mark, read_document
from mechshift_core.zoo.recipes import PairRecipe

Problems = Callable[[str | bytes], tuple[Problem, ...]]


def test_a_valid_spec_has_its_values_and_the_defaults_of_the_rest(folder: Path) -> None:
    Path("study.yaml").write_text(STUDY)
    spec = load_spec("study.yaml")
    assert (spec.path, spec.text, spec.folder) == (Path("study.yaml"), STUDY, Path())
    assert spec.models["mdm"].shifted and not spec.models["arm"].shifted
    assert [(task.regime, task.examples) for task in spec.tasks] == [("local", 100), ("global", 200), ("global", None)]
    assert spec.edge_attribution is not None and spec.edge_attribution.quadrature == "midpoint"
    assert spec.measures.specialization is None
    assert (spec.seed, spec.statistics.confidence, spec.statistics.correction) == (0, 0.95, "holm")


def test_a_spec_survives_being_written_as_json_and_read_again(folder: Path) -> None:
    Path("study.yaml").write_text(STUDY)
    spec = load_spec("study.yaml")
    Path("again.yaml").write_text(spec.model_dump_json(exclude_unset=True))
    assert load_spec("again.yaml").model_dump() == spec.model_dump()


def test_relative_paths_are_looked_up_from_the_folder_of_the_spec(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "study.yaml").write_text(STUDY)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    spec = load_spec("../study.yaml")
    assert spec.resolve("mine.jsonl").read_text() == ""


def test_files_are_not_looked_for_where_only_tables_are_analysed(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("./arm", "bundled:gone"))
    assert isinstance(load_spec(tmp_path / "study.yaml", check_files=False), Spec)
    with pytest.raises(SpecError):
        load_spec(tmp_path / "study.yaml")


@pytest.mark.parametrize("word", ["no", "on", "yes", "off", "1_000", "1:30", "2026-01-21", "012a", "'1'", "!!str 1"])
def test_words_that_yaml_1_1_converts_are_text(word: str) -> None:
    assert isinstance(read_document(f"a: {word}").data["a"], str)


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("-3", -3), ("010", 10), ("0x1F", 31), ("0o17", 15), ("1e3", 1000.0), (".5", 0.5), ("~", None),
     ("", None), ("true", True), ("!!float 1", 1), ('"1"', "1"), ("|\n  x", "x"), ("[1, a]", [1, "a"]),
     ("!!map {}", {})],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    data = read_document(f"a: {text}").data["a"]
    assert data == value and type(data) is type(value)


def test_merged_entries_yield_to_own_ones_and_point_at_their_anchor() -> None:
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: [*x, *y], c: 5}\n"
    document = read_document(text)
    assert document.data["z"] == {"a": 1, "b": 2, "c": 5}
    assert document.keys["z", "a"] == Mark(1, 8)
    assert document.values["z", "b"] == Mark(1, 17)
    assert document.values["z", "c"] == Mark(3, 22)


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    assert read_document('a: {"<<": 1}').data == {"a": {"<<": 1}}


def test_a_problem_in_a_merged_value_points_at_the_anchored_text(problems: Problems) -> None:
    text = STUDY.replace("{name: ioi, examples: 100}", "&t {name: ioi, examples: none}")
    text = text.replace("{name: countdown}", "{<<: *t, name: countdown}")
    assert [(p.line, p.message) for p in problems(text)] == [(11, "expected an integer, got 'none'")]


FATAL = {
    "nothing": ("", "study.yaml:1:1: the file is empty"),
    "only a comment": ("# nothing\n", "study.yaml:1:1: the file is empty"),
    "a bare document start": ("---\n", "study.yaml:1:1: the file is empty"),
    "a list": ("- a\n", "study.yaml:1:1: expected a mapping at the top level"),
    "a scalar": ("12\n", "study.yaml:1:1: expected a mapping at the top level"),
    "two documents": ("a: 1\n---\nb: 2\n", "study.yaml:2:1: a second document starts here; expected one document"),
    "unknown anchor": ("a: *b\n", "study.yaml:1:4: unknown anchor 'b': no '&b' before this alias"),
    "recursion": ("a: &a [*a]\n", "study.yaml:1:8: recursive alias: '*a' stands inside of what it names"),
    "a control character": ("a: \x1b[31m\n", "study.yaml:1:4: not valid YAML: the character U+001B"),
    "bytes that are not UTF-8": (b"a: 1\nb: \xff\n", "study.yaml:2:4: not UTF-8: the byte 0xff"),
    "an impossible escape": ('a: "\\UFFFFFFFF"\n', "study.yaml:1:1: not valid YAML after this point (OverflowError)"),
    "an open bracket": (
        "a: [1, 2\n",
        "study.yaml:2:1: not valid YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence",
    ),
    "two colons": ("a: b: c\n", "study.yaml:1:5: not valid YAML: mapping values are not allowed here"),
    "a tab": ("a:\n\tb: 1\n", "study.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token"
              " while scanning for the next token"),
}  # fmt: skip


@pytest.mark.parametrize("name", FATAL)
def test_a_file_that_is_no_single_yaml_mapping_is_refused_where_it_fails(name: str, problems: Problems) -> None:
    content, expected = FATAL[name]
    assert [str(problem).splitlines()[0] for problem in problems(content)] == [expected]


def test_an_alias_bomb_is_refused_before_it_is_expanded(problems: Problems) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = problems("\n".join(lines))
    assert problem.message == "more than 20,000 values, with every alias written out"


def test_a_merge_bomb_is_refused_too(problems: Problems) -> None:
    lines = ["a0: &a0 {k: 1}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    (problem,) = problems("\n".join(lines))
    assert problem.message.startswith("more than 20,000 values")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_without_recursion(opening: str, problems: Problems) -> None:
    (problem,) = problems("a:\n " + opening * 5000)
    assert problem.message == f"nested more than {MAX_DEPTH} levels deep"


def test_depth_is_counted_through_aliases(problems: Problems) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    (problem,) = problems("\n".join(lines))
    assert problem.message.startswith("nested more than")


def test_a_missing_file_a_folder_and_a_large_file_are_refused(folder: Path, problems: Problems) -> None:
    for path, message in {"gone.yaml": "no such file", "arm": "expected a file, got a folder", "a\0b": None}.items():
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        assert message is None or str(caught.value) == f"{path}: {message}"
    (problem,) = problems(STUDY + "#" * 2**20)
    assert str(problem) == "study.yaml: larger than 1 MiB"


def test_a_byte_order_mark_is_no_part_of_the_text(problems: Problems) -> None:
    assert problems("\ufeff" + STUDY) == ()


def test_source_lines_cannot_write_to_the_terminal_and_long_ones_are_cut(problems: Problems) -> None:
    (problem,) = problems("a: \x1b]0;title\x07 " + "x" * 500)
    head, source, caret = str(problem).splitlines()
    assert head.endswith("U+001B") and "\x1b" not in source and len(source) <= 122 and caret == "     ^"


def test_the_caret_stands_under_the_place_in_a_long_line(problems: Problems) -> None:
    padding = "x" * 300
    (problem,) = problems(STUDY.replace("name: study", f"name: study\ntitle: {padding}\nunknown: 1"))
    assert problem.line == 4
    text = STUDY.replace("{name: ioi,", "{name:" + " " * 300 + "io,")
    (problem,) = problems(text)
    _, source, caret = str(problem).splitlines()
    assert source[caret.index("^") :].startswith("io, examples")


def test_a_training_recipe_is_read_with_the_same_messages(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    good = "schema: mechshift-pair/v1\nname: tiny\nbatch: {ioi: 8}\npretrain: {steps: 10}\ndiffusion: {steps: 10}\n"
    path.write_text(good)
    assert load_model_file(path, PairRecipe).batch == {"ioi": 8}
    path.write_text(good.replace("steps: 10}\ndiff", "step: 10}\ndiff").replace("ioi: 8", "ioi: 0"))
    with pytest.raises(SpecError) as caught:
        load_model_file(path, PairRecipe)
    assert [(p.line, p.message) for p in caught.value.problems] == [
        (3, "expected a number greater than 0, got 0"),
        (4, "missing key 'steps'"),
        (4, "unknown key 'step' (did you mean 'steps'?)"),
    ]
