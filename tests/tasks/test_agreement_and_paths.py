"""Subject-verb agreement and path-star graphs: which answers are right, what the corruption changes, which roles."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_draws import drawn_exercises, drawn_pairs, graph
from transformers import PreTrainedTokenizerFast

from mechshift_core.tasks import TASKS
from mechshift_core.tasks.counterfactual import Example, align, generated_dataset
from mechshift_core.tasks.path_star import NODES
from mechshift_core.tasks.sva import PEOPLE, THINGS, VERBS

NOUNS = {*PEOPLE, *THINGS}
PLURAL_VERBS, SINGULAR_VERBS = zip(*(verb.split("/") for verb in VERBS), strict=True)
SVA_TEMPLATES = {"simple"} | {
    f"{frame}-{number}"
    for frame in ("prepositional", "relative-object", "relative-subject") for number in ("singular", "plural")
}  # fmt: skip
PATH_TEMPLATES = {f"{frame}-{shape}" for frame in ("bars", "arrows", "roads") for shape in ("2x2", "2x3", "3x2")}
seeds = st.integers(0, 2**32 - 1)


def nouns(prompt: str) -> list[str]:
    return [word for word in prompt.split() if word.removesuffix("s") in NOUNS]


def paths_of(prompt: str) -> list[list[str]]:
    """Every way through the graph from the start to the goal, by exhaustive search."""
    *_, start, goal, _ = re.findall(r"\b[A-Z]\b", prompt)
    found, open_paths = [], [[start]]
    while open_paths:
        path = open_paths.pop()
        if path[-1] == goal:
            found.append(path)
        open_paths += [[*path, b] for a, b in graph(prompt) if a == path[-1]]
    return found


# Subject-verb agreement


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=seeds)
def test_agreement_corruption_puts_the_subject_into_the_singular_and_changes_nothing_else(seed: int) -> None:
    for text in drawn_pairs("sva", 4, seed=seed):
        clean, corrupt = text.clean.split(), text.corrupt.split()
        (changed,) = [at for at, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b]
        assert clean[changed] == nouns(text.clean)[0] == f"{corrupt[changed]}s"
        assert corrupt[changed] in NOUNS
        assert (text.answers, text.foils) == (PLURAL_VERBS, SINGULAR_VERBS)


def test_plural_and_singular_verbs_are_forms_of_the_same_verbs_and_no_form_is_both() -> None:
    irregular = {"are": "is", "were": "was", "have": "has", "do": "does"}
    assert [irregular.get(verb, f"{verb}s") for verb in PLURAL_VERBS] == list(SINGULAR_VERBS)
    assert not set(PLURAL_VERBS) & set(SINGULAR_VERBS)
    assert len(NOUNS) == len(PEOPLE) + len(THINGS) == 40


def test_agreement_templates_say_the_frame_and_the_attractor_s_number() -> None:
    seen = set()
    for text in drawn_pairs("sva", 400):
        seen.add(text.template)
        _, *attractor = nouns(text.clean)
        frame, _, number = text.template.rpartition("-") if attractor else (text.template, "", "")
        assert [noun.endswith("s") for noun in attractor] == ([number == "plural"] if number else [])
        if frame == "relative-object":
            assert text.clean.split()[-1].endswith("s") == (number == "singular"), "it agrees with the attractor"
    assert seen == SVA_TEMPLATES


def test_the_next_verb_agrees_with_the_subject_whatever_the_attractor_s_number() -> None:
    task = TASKS["sva"]
    for exercise in drawn_exercises(task, 300):
        right = PLURAL_VERBS if nouns(exercise.prompt)[0].endswith("s") else SINGULAR_VERBS
        assert exercise.completion in right
        assert [v for v in (*PLURAL_VERBS, *SINGULAR_VERBS) if task.is_correct(exercise.prompt, v)] == list(right)
    assert not task.is_correct("The weather", "is"), "no noun of the task"


def test_agreement_roles_are_those_of_the_words(byte_pairs: PreTrainedTokenizerFast) -> None:
    for text in drawn_pairs("sva", 100):
        named = {text.clean[span.start : span.stop]: span.role for span in text.roles}
        subject, *attractor = nouns(text.clean)
        last = text.clean.split()[-1]
        expected = {subject: "subject", **dict.fromkeys(attractor, "attractor")}
        assert {w: r for w, r in named.items() if r in ("subject", "attractor")} == {
            word: role for word, role in expected.items() if word != last
        }
        assert ("that" in named) == text.template.startswith("relative")


# Path-star


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=seeds)
def test_the_only_way_to_the_goal_begins_with_the_answer_and_that_to_the_corrupted_goal_with_the_foil(
    seed: int,
) -> None:
    for text in drawn_pairs("path_star", 4, seed=seed):
        (path,), (other,) = paths_of(text.clean), paths_of(text.corrupt)
        assert path[1:] == [*text.answers, *text.remainder.split()]
        assert (other[0], other[1]) == (path[0], text.foils[0]) and other[1] != path[1]
        assert graph(text.clean) == graph(text.corrupt)
        (changed,) = [at for at, (a, b) in enumerate(zip(text.clean, text.corrupt, strict=True)) if a != b]
        assert (text.clean[changed], text.corrupt[changed]) == (path[-1], other[-1])


def test_path_star_graphs_have_the_shape_that_their_template_says() -> None:
    seen = set()
    for text in drawn_pairs("path_star", 300):
        seen.add(text.template)
        arms, length = map(int, text.template.rpartition("-")[2].split("x"))
        edges = graph(text.clean)
        out = {node: sum(a == node for a, _ in edges) for edge in edges for node in edge}
        assert len(edges) == arms * length and len(out) == arms * length + 1
        assert sorted(out.values()) == [*[0] * arms, *[1] * (arms * (length - 1)), arms]
        assert set(out) <= set(NODES)
    assert seen == PATH_TEMPLATES


def test_path_star_takes_the_way_to_the_goal_and_no_other() -> None:
    task, prompt = TASKS["path_star"], "Edges: B C | B E | E F | C D / B D = B"
    assert task.is_correct(prompt, "C D")
    wrong = ("", "C", "D", "E F", "E D", "C D D", "B C D", "C F", "C, D", "c d")
    assert not [way for way in wrong if task.is_correct(prompt, way)]


def test_exercise_and_pair_of_the_same_draw_are_the_same_graph_under_the_same_key() -> None:
    for task in (TASKS["path_star"], TASKS["sva"]):
        for seed in range(50):
            exercise, pair = (draw(np.random.default_rng(seed)) for draw in (task.exercise, task.counterfactual))
            assert pair is not None and exercise.key == pair.key and exercise.template == pair.template
    a, b = (TASKS["path_star"].exercise(np.random.default_rng(seed)).key for seed in (0, 1))
    assert a != b


def test_path_star_roles_tell_the_goal_s_arm_from_the_others(byte_pairs: PreTrainedTokenizerFast) -> None:
    for example in generated_dataset(TASKS["path_star"], byte_pairs, examples=60, seed=0).examples:
        (path,) = paths_of(example.clean)
        letters = re.findall(r"\b[A-Z]\b", example.clean)
        edges = list(zip(letters[:-3:2], letters[1:-3:2], strict=True))
        arm = set(pairwise(path))
        expected = [role for edge in edges for role in ["goal_arm" if edge in arm else "edge"] * 2]
        tokens = [byte_pairs.decode([token]).strip() for token in example.clean_ids]
        named = [(t, r) for t, r in zip(tokens, example.roles, strict=True) if r not in ("other", "end")]
        assert named == list(zip(letters[:-1], [*expected, "start", "goal"], strict=True))
        assert (tokens[-1], example.roles[-1]) == (path[0], "end")


@pytest.mark.long
@pytest.mark.parametrize("name", TASKS)
@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=seeds, kind=st.sampled_from(["byte_pairs", "single_digits"]))
def test_aligned_pairs_have_equal_lengths_a_role_for_each_token_and_answers_that_are_no_foils(
    name: str, seed: int, kind: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(kind)
    for text in drawn_pairs(name, 4, seed=seed):
        example = align(text, tokenizer)
        if isinstance(example, Example):
            assert len(example.clean_ids) == len(example.corrupt_ids) == len(example.roles)
            assert example.answer_ids and example.foil_ids and not set(example.answer_ids) & set(example.foil_ids)
            assert {*example.roles} <= {*TASKS[name].roles, "other", "end"} and example.masks >= 1
