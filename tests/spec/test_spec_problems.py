"""Each way to get a spec wrong: the change, what the caret points at, the message."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from spec_study import STUDY
from syrupy.assertion import SnapshotAssertion

from mechshift_core.spec import Problem, SpecError

Problems = Callable[[str | bytes], tuple[Problem, ...]]

NOT_YET = "is not implemented in this version (implemented:"
A_NAME = "expected a name of lower-case letters, digits, '.', '_' and '-' that begins with a letter or digit"
CASES: dict[str, tuple[str, str, str, str]] = {
    # the file's structure
    "duplicate key": ("name: study", "name: study\nname: b", "name: b", "duplicate key 'name' (first on line 2)"),
    "number as key": ("arm: {", "1: {", "1: {", "keys must be text, got 1 (write it in quotes: '1')"),
    "null as key": ("  depth: {}", "  ~: {}", "~: {}", "keys must be text, got nothing (write it in quotes: '~')"),
    "list as key": ("  depth: {}", "  ? [a]\n  : {}", "[a]", "keys must be text, got a sequence"),
    "unsafe tag": ("name: study", "name: !!python/name:os.system study", "!!python/name",
                   "the tag '!!python/name:os.system' is not allowed: only plain data is read"),
    "own tag on a mapping": ("depth: {}", "depth: !depth {}", "!depth",
                             "the tag '!depth' is not allowed: only plain data is read"),
    "tag that does not fit": ("steps: 5", "steps: !!int five", "!!int", "'five' does not fit its tag '!!int'"),
    "not a number": ("margin: 0.2", "margin: .nan", ".nan", "expected a finite number, got .nan"),
    "infinite": ("margin: 0.2", "margin: -.inf", "-.inf", "expected a finite number, got -.inf"),
    "overflowing": ("margin: 0.2", "margin: 1e999", "1e999", "expected a finite number, got 1e999"),
    "huge integer": ("steps: 5", "steps: 99999999999999999999", "9999", "the integer 99999999999999999999 does not fit"
                     " 64 bits"),
    "half a character": ("name: study", 'name: study\ntitle: "\\ud800"', '"',
                         "not valid Unicode: half of a surrogate pair"),
    "merging a scalar": ("depth: {}", "depth: {<<: 1}", "1}", "expected a mapping (or a list of mappings) to merge"),
    # the schema
    "misspelt key": ("examples:", "exmples:", "exmples", "unknown key 'exmples' (did you mean 'examples'?)"),
    "foreign key": ("depth: {}", "depth: {zzz: 1}", "zzz", "unknown key 'zzz' (known here: early)"),
    "python's name of schema": ("name: study", "schema_: x\nname: study", "schema_",
                                "unknown key 'schema_' (did you mean 'schema'?)"),
    "key of another kind": ("steps: 5}", "steps: 5, components: [heads]}", "components",
                            "unknown key 'components' (known here: name, kind, method, steps, quadrature, draws,"
                            " methods, by_role)"),
    "missing key": (", role: control, seed: 0}", ", seed: 0}", "{name: control", "missing key 'role'"),
    "missing section": ("name: study\n", "", "schema:", "missing key 'name'"),
    "missing kind": (" kind: edge_attribution,", "", "{name: circuit", "missing key 'kind'"),
    "wrong version": ("mechshift/v1", "mechshift/v2", "mechshift/v2",
                      "expected 'mechshift/v1', got 'mechshift/v2' (did you mean 'mechshift/v1'?)"),
    "misspelt choice": ("role: treatment, seed", "role: treatmnt, seed", "treatmnt",
                        "expected 'treatment', 'control' or 'unrelated', got 'treatmnt' (did you mean 'treatment'?)"),
    "misspelt kind": ("kind: edge_attribution", "kind: edge_atribution", "edge_atribution",
                      "expected 'edge_attribution', 'circuit_patching', 'circuit_transfer', 'activation_patching',"
                      " 'ablation', 'targeted_ablation', 'attention', 'probe', 'neurons', 'logit_lens', 'movement',"
                      " 'weight_movement', 'cross_patching', 'weight_interpolation' or 'denoising_path', got"
                      " 'edge_atribution'"
                      " (did you mean 'edge_attribution'?)"),
    "text for a number": ("examples: 100", "examples: many", "many", "expected an integer, got 'many'"),
    "quoted number": ("examples: 100", "examples: '100'", "'100'", "expected an integer, got '100'"),
    "truth for a number": ("examples: 100", "examples: true", "true", "expected an integer, got true"),
    "fraction for an integer": ("examples: 100", "examples: 1.5", "1.5", "expected an integer, got 1.5"),
    "number for text": ("name: study", "name: 12", "12", "expected text, got 12 (write it in quotes for text)"),
    "number for a mapping": ("{top_k: [50, 100, 200]}", "7", "7", "expected a mapping, got 7"),
    "number for a list": ("[50, 100, 200]", "50", "50", "expected a list, got 50"),
    "no examples": ("examples: 100", "examples: 0", "0", "expected a number not below 1, got 0"),
    "too many examples": ("examples: 100", "examples: 100001", "100001",
                          "expected a number not above 100000, got 100001"),
    "no sizes": ("[50, 100, 200]", "[]", "[]", "expected at least 1 item, got 0"),
    "bad name": ("name: study", "name: My Study", "My Study", f"{A_NAME}, got 'My Study'"),
    "name that climbs out": ("name: study", "name: ../up", "../up", f"{A_NAME}, got '../up'"),
    "bad model name": ("  arm: {", "  My arm: {", "My arm", f"{A_NAME}, got 'My arm'"),
    "one of two types": ("name: study", "name: study\nexecution: {batch_size: big}", "big",
                         "expected an integer or 'auto', got 'big'"),
    "measure without its mapping": ("depth: {}", "depth:", "depth",
                                    "expected a mapping ({} for the defaults), got nothing"),
    "beside a key named like the kind": (
        " steps: 5}", " steps: 5}\n  - {name: out, kind: ablation, ablation: zero, pairwise: few}", "few",
        "expected an integer, got 'few'"),
    "custom task without regime": (" regime: global,", "", "{name: mine",
                                   "a task with a data set must say its regime: local or global"),
    # references and files
    "unknown model": ("after: mdm", "after: mdn", "mdn", "unknown model 'mdn' (did you mean 'mdm'?)"),
    "unknown task": ("name: ioi,", "name: io,", "io,", "unknown task 'io' (did you mean 'ioi'?)"),
    "task from nowhere": ("name: ioi,", "name: zzz,", "zzz", "unknown task 'zzz' (known: ioi, greater_than, countdown,"
                          " infilling, sudoku, sva, path_star; or give a dataset)"),
    "another regime": ("{name: countdown}", "{name: countdown, regime: local}", "local",
                       "the task 'countdown' is global, not local"),
    "words of a data set": ("dataset: mine.jsonl", "dataset: mine.jsonl, words: natural", "words",
                            "a data set has no 'words': it is read as it is written"),
    "blank of a data set": ("dataset: mine.jsonl", "dataset: mine.jsonl, ask: at_blank", "ask",
                            "a data set has no 'ask': it is read as it is written"),
    "unknown words": ("{name: countdown}", "{name: countdown, words: english}", "english",
                      "expected 'auto', 'bundled' or 'natural', got 'english'"),
    "no blank": ("{name: ioi, examples: 100}", "{name: ioi, ask: at_blank}", "at_blank",
                 "the task 'ioi' has no blank to ask at (tasks that have: infilling)"),
    "blank before an autoregressive model": (
        "{name: countdown}", "{name: infilling, ask: at_blank}", "at_blank",
        "at_blank is for pairs of masked diffusion models: 'arm' is autoregressive and does not see what stands behind "
        "the blank; use ask: afterwards"),
    "duplicate pair": ("name: control", "name: diffusion", "diffusion", "duplicate name 'diffusion' in pairs"),
    "duplicate task": ("{name: countdown}", "{name: ioi}", "ioi", "duplicate name 'ioi' in tasks"),
    "duplicate hypothesis": ("id: rewired", "id: kept", "kept", "duplicate id 'kept' in hypotheses"),
    "no model folder": ("source: ./mdm", "source: ./gone", "./gone", "no such folder: gone"),
    "no data set": ("mine.jsonl", "gone.jsonl", "gone.jsonl", "no such file: gone.jsonl"),
    "data set is a folder": ("mine.jsonl", "arm", "arm", "expected a file, got a folder or device: arm"),
    "unknown bundled model": ("source: ./mdm", "source: bundled:tiny/mdn", "bundled:",
                              "unknown bundled model 'tiny/mdn' (did you mean 'tiny/mdm'?)"),
    "revision of a folder": ("source: ./mdm,", "source: ./mdm, revision: abc,", "revision",
                             "only a model from the Hub (hf:) has a revision"),
    # options that contradict each other
    "mask of an autoregressive model": ("./arm, paradigm: autoregressive}\n  mdm",
                                        "./arm, paradigm: autoregressive, mask_token: x}\n  mdm", "mask_token",
                                        "an autoregressive model has no 'mask_token'"),
    "shift of an autoregressive model": ("./arm, paradigm: autoregressive}\n  mdm",
                                         "./arm, paradigm: autoregressive, shifted: false}\n  mdm", "shifted",
                                         "an autoregressive model has no 'shifted'"),
    "steps without a path": ("method: eap-ig", "method: eap", "steps: 5",
                             "the method 'eap' has no 'steps' ('eap-ig', 'eap-ig-activations', 'eap-ig-sources' and"
                             " 'rank-average' have)"),
    "draws without random points": ("method: eap-ig, steps: 5", "method: gim, draws: 3", "draws",
                                    "the method 'gim' has no 'draws' ('expected-gradients' and 'rank-average' have)"),
    "ranks of one method": ("method: eap-ig, steps: 5", "method: rank-average, methods: [gim]", "[gim]",
                            "'rank-average' needs two or more `methods`, got 1"),
    "ranks of nothing": ("method: eap-ig, steps: 5", "method: rank-average", "{name: circuit",
                         "'rank-average' needs two or more `methods`, got 0"),
    "ranks of patches": ("method: eap-ig, steps: 5", "method: rank-average, methods: [gim, exact]", "exact]",
                         "the ranks of methods that take gradients are averaged; 'exact' is none"),
    "ranks twice": ("method: eap-ig, steps: 5", "method: rank-average, methods: [gim, relp, gim]", "gim]",
                    "duplicate value 'gim'"),
    "ranks by role": ("method: eap-ig, steps: 5", "method: rank-average, methods: [gim, eap], by_role: true", "by_role",
                      "the method 'rank-average' ranks edges over all positions, so it has no scores by token role"),
    "unsorted sizes": ("[50, 100, 200]", "[100, 50, 200]", "50,", "sizes must ascend: 50 after 100"),
    "duplicate sizes": ("[50, 100, 200]", "[50, 100, 100]", "100]", "sizes must ascend: duplicate size 100"),
    "two circuits": ("steps: 5}", "steps: 5}\n  - {name: other, kind: edge_attribution}", "edge_attribution}",
                     "only one edge_attribution a spec is implemented in this version"),
    "no circuit": ("  - {name: circuit, kind: edge_attribution, method: eap-ig, steps: 5}",
                   "  - {name: heads, kind: activation_patching}", "interventions",
                   "expected an edge_attribution: it also decides which examples a model answers correctly"),
    "circuits from nowhere": ("steps: 5}", "steps: 5}\n  - {name: curve, kind: circuit_patching, of: circut}", "circut",
                              "unknown intervention 'circut' (did you mean 'circuit'?)"),
    "circuit sizes that fall": ("steps: 5}",
                                "steps: 5}\n  - {name: curve, kind: circuit_patching, of: circuit, sizes: [1, 0.5]}",
                                "0.5]", "sizes must ascend: 0.5 after 1"),
    "exact scores by role": ("method: eap-ig, steps: 5", "method: exact, by_role: true", "by_role",
                             "the method 'exact' patches an edge at all positions, so it has no scores by token role"),
    # hypotheses
    "unknown measure": ("measure: retention\n    where", "measure: retension\n    where", "retension",
                        "expected 'similarity', 'inherited', 'overlap', 'retention', 'node_overlap',"
                        " 'node_retention', 'depth_slope', 'early_share', 'specialization',"
                         " 'integration', 'alignment', 'faithfulness', 'transfer', 'targeted', 'right_context',"
                         " 'revealed_share', 'decision_time', 'residual_shift', 'representation_similarity',"
                         " 'prediction_shift', 'weight_shift', 'cross_patching_use', 'cross_patching_cost',"
                         " 'interpolation_barrier', 'overwritten' or 'brier', got 'retension'"
                        " (did you mean 'retention'?)"),
    "measure not declared": ("measure: retention\n    where", "measure: specialization\n    where", "specialization",
                             "measure 'specialization' needs measures.specialization, which is not declared"),
    "tested on an index that noise moves": (
        "depth: {}\nhypotheses:\n  - id: kept\n    measure: retention",
        "depth: {}\n  specialization: {index: gini}\nhypotheses:\n"
        "  - {id: narrow, measure: specialization, test: {kind: difference}}\n  - id: kept\n    measure: retention",
        "specialization, test",
        "the index 'gini' is of magnitudes of mean effects, which noise alone moves: no hypothesis can be tested "
        "with it; declare `measures: {specialization: {index: renyi_entropy}}` (all are tabled anyway)",
    ),
    "every one of one regime": ("    where: {role", "    every: regime\n    where: {role", "regime",
                                "expected several regimes to hold in, but the hypothesis is on one, 'local': leave "
                                "it out"),
    "every one of what is contrasted": ("    contrast: {regime", "    every: task\n    contrast: {regime", "task",
                                        "a contrast of regimes is one number: there is none in every task"),
    "witness of what is not there": ("  - id: rewired\n", "  - id: rewired\n    witness_of: kpt\n", "kpt",
                                     "unknown hypothesis 'kpt' (did you mean 'kept'?)"),
    "witness of itself": ("  - id: kept\n", "  - id: kept\n    witness_of: kept\n", "kept",
                          "a hypothesis can't be a witness of itself"),
    "witness of a witness": (
        "  - id: rewired\n",
        "  - id: second\n    witness_of: kept\n    measure: retention\n"
        "    contrast: {role: [treatment, control]}\n    test: {kind: difference}\n"
        "  - id: rewired\n    witness_of: second\n", "second",
        "'second' is a witness itself; expected the hypothesis that it is a witness of",
    ),
    "where and contrast on one key": ("    contrast: {regime", "    where: {regime: local}\n    contrast: {regime",
                                      "regime: [", "'regime' is in both where and contrast: one of them decides it"),
    "contrast with itself": ("[global, local]", "[local, local]", "[local",
                             "a contrast of 'local' with itself is zero"),
    "empty contrast": ("contrast: {regime: [global, local], role: [treatment, control]}", "contrast: {}", "{}",
                       "expected at least one of role, pair, regime, task or budget"),
    "contrast of three": ("[global, local]", "[global, local, local]", "[global", "expected at most 2 items, got 3"),
    "unknown pair": ("where: {role: treatment,", "where: {pair: difusion,", "difusion",
                     "unknown pair 'difusion' (did you mean 'diffusion'?)"),
    "nothing matches together": ("where: {role: treatment,", "where: {role: treatment, pair: control,", "where",
                                 "no pair and task with role 'treatment', pair 'control', regime 'local'"),
    "empty cell of a contrast": ("    contrast: {regime: [global, local], ",
                                 "    where: {pair: diffusion}\n    contrast: {", "contrast",
                                 "no pair and task with role 'control', pair 'diffusion'"),
    "contrast and to": ("difference, alternative: less", "equivalence, margin: 1, to: {role: control}", "to:",
                        "a hypothesis has either a contrast or 'to', not both"),
    "to the same group": ("to: {role: control, regime: local}", "to: {role: treatment, regime: local}", "{role",
                          "'to' is the same group as 'where': nothing is compared"),
    "nothing to be equivalent with": ("to: {role: control, regime: local}, margin", "margin", "equivalence",
                                      "without `to` the test compares 'retention' with 0, which is nothing in common: "
                                      "write `to: ceiling`, that is 1, or `to:` a group such as {role: control}"),
    "nothing to be as good as": ("kind: equivalence, to: {role: control, regime: local}, margin",
                                 "kind: non_inferiority, margin", "non_inf",
                                 "without `to` the test compares 'retention' with 0, which is nothing in common: "
                                 "write `to: ceiling`, that is 1, or `to:` a group such as {role: control}"),
    "nodes of nothing": ("measure: retention\n    where: {role: treatment, regime: local}\n    test: {kind: "
                         "equivalence, to: {role: control, regime: local}",
                         "measure: node_retention\n    where: {role: treatment, regime: local}\n    test: {kind: "
                         "equivalence", "equivalence",
                         "without `to` the test compares 'node_retention' with 0, which is nothing in common: "
                         "write `to: ceiling`, that is 1, or `to:` a group such as {role: control}"),
    "retention against nothing": ("kind: equivalence, to: {role: control, regime: local}, margin: 0.2",
                                  "kind: difference, alternative: greater", "difference",
                                  "'retention' is not tested against 0: models with nothing in common are above or "
                                  "below it, since edges are not exchangeable; subtract a group with `contrast`, or "
                                  "claim a `bound` above 0"),
    "retention above nothing": ("kind: equivalence, to: {role: control, regime: local}, margin: 0.2",
                                "kind: bound, bound: 0, alternative: greater", "0, alt",
                                "'retention' is not tested against 0: models with nothing in common are above or below "
                                "it, since edges are not exchangeable; subtract a group with `contrast`, or claim a "
                                "`bound` above 0"),
    "ceiling of a shift": ("measure: retention\n    where: {role: treatment, regime: local}\n    test: {kind: "
                           "equivalence, to: {role: control, regime: local}",
                           "measure: depth_slope\n    where: {role: treatment, regime: local}\n    test: {kind: "
                           "equivalence, to: ceiling", "ceiling",
                           "'depth_slope' has no ceiling of its own (those that have: similarity, inherited, "
                            "retention, node_retention, transfer, representation_similarity, cross_patching_use, "
                            "cross_patching_cost, interpolation_barrier); name a group"),
    "misspelt ceiling": ("to: {role: control, regime: local}", "to: ceilin", "ceilin",
                         "expected a mapping or 'ceiling', got 'ceilin'"),
    "misspelt key of to": ("to: {role: control", "to: {rol: control", "rol:",
                           "unknown key 'rol' (did you mean 'role'?)"),
    "inherited from nobody": ("measure: retention\n    where", "measure: inherited\n    where", "inherited",
                              "measure 'inherited' is counted from unrelated pairs: declare a pair with role: "
                              "unrelated"),
    "no margin": (", margin: 0.2}", "}", "{kind: equivalence",
                  "an equivalence test needs a margin: the largest difference that counts as none"),
    "negative margin": ("margin: 0.2", "margin: -0.2", "-0.2", "expected a margin greater than 0, got -0.2"),
    "zero margin": ("margin: 0.2", "margin: 0", "0}", "expected a margin greater than 0, got 0"),
    "margin of a difference": ("alternative: less", "alternative: less, margin: 0.1", "margin",
                               "a difference test has no 'margin'; `equivalence` has one"),
    "to of a difference": ("alternative: less", "to: {role: control}", "to",
                           "a difference test has no 'to'; subtract groups with `contrast`"),
    "direction of an equivalence": ("margin: 0.2", "margin: 0.2, alternative: less", "alternative",
                                    "an equivalence test has no 'alternative'"),
    "no bound side": ("kind: equivalence, to: {role: control, regime: local}, margin: 0.2",
                      "kind: bound, bound: 0.5", "{kind: bound",
                      "a bound test needs the side that is claimed: alternative: less or greater"),
    "margin of a bound": ("kind: equivalence, to: {role: control, regime: local}, margin: 0.2",
                          "kind: bound, bound: 0.5, alternative: less, margin: 1", "margin",
                          "a bound test has no 'margin'; `equivalence` has one"),
    "no margin of non-inferiority": ("kind: equivalence, to: {role: control, regime: local}, margin: 0.2",
                                     "kind: non_inferiority", "{kind: non",
                                     "a non_inferiority test needs a margin: the largest loss that counts as none"),
    "second lens": ("{name: circuit, kind: edge_attribution, method: eap-ig, steps: 5}",
                    "{name: circuit, kind: edge_attribution}\n  - {name: lens, kind: logit_lens}\n"
                    "  - {name: again, kind: logit_lens}", "logit_lens",
                    "a logit_lens has no settings: a second one would give the same"),
    "alignment without a lens": ("depth: {}", "depth: {}\n  alignment: {}", "alignment",
                                 "measure 'alignment' needs an intervention of kind logit_lens"),
    # what the grammar has and the tool has not
    "unknown index": ("depth: {}", "specialization: {index: theil}", "theil",
                      "expected 'renyi_entropy', 'gini', 'participation_ratio', 'hoyer', 'entropy' or 'largest_share', "
                      "got 'theil'"),
    "transfer of nothing": ("measure: retention\n    where", "measure: transfer\n    where", "transfer",
                            "measure 'transfer' needs an intervention of kind circuit_transfer, which is not declared"),
    "bound of nothing": ("kind: equivalence, to: {role: control, regime: local}, margin: 0.2",
                         "kind: bound, alternative: less", "{kind: bound",
                         "a bound test needs a bound: the value that the estimate is claimed to be beyond"),
}  # fmt: skip
SETTINGS = {
    "statistics: {units: {prompt: fixed}}": f"prompt unit 'fixed' {NOT_YET} random)",
}


@pytest.fixture(autouse=True)
def _bundled_models(monkeypatch: pytest.MonkeyPatch) -> None:
    from mechshift_core import zoo

    monkeypatch.setattr(zoo, "bundled_models", lambda: dict.fromkeys(("tiny/arm", "tiny/mdm")), raising=False)


def test_the_study_that_all_cases_change_is_valid(problems: Problems) -> None:
    assert problems(STUDY) == ()


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_spec_is_refused_with_its_place_and_a_message(name: str, problems: Problems) -> None:
    old, new, at, message = CASES[name]
    assert old in STUDY
    found = [p for p in problems(STUDY.replace(old, new, 1)) if p.message == message]
    assert len(found) == 1, [p.message for p in problems(STUDY.replace(old, new, 1))]
    assert found[0].source_line[found[0].column - 1 :].startswith(at)


OF_INTERVENTIONS = {
    "transfer": "circuit_transfer, of: circuit",
    "faithfulness": "circuit_patching, of: circuit",
    "targeted": "targeted_ablation, of: circuit",
    "right_context": "attention",
    "cross_patching_use": "cross_patching",
    "interpolation_barrier": "weight_interpolation",
}
"""Measure of a hypothesis -> the kind of intervention that it is of, with what that needs."""


def claimed(measure: str, *interventions: str, role: str = "treatment") -> str:
    """The study with interventions and a single hypothesis, that a measure differs from zero."""
    study = STUDY[: STUDY.index("hypotheses:")].replace("measures:", "".join(interventions) + "measures:")
    return f"{study}hypotheses:\n  - id: h\n    measure: {measure}\n    where: {{role: {role}}}\n" + (
        "    test: {kind: difference}\n"
    )


@pytest.mark.parametrize("measure", OF_INTERVENTIONS)
def test_a_measure_of_an_intervention_is_of_one(measure: str, problems: Problems) -> None:
    one, two = (f"  - {{name: {name}, kind: {OF_INTERVENTIONS[measure]}}}\n" for name in ("one", "two"))
    assert problems(claimed(measure, one)) == ()
    kind = OF_INTERVENTIONS[measure].partition(",")[0]
    (missing,) = problems(claimed(measure))
    assert missing.message == f"measure '{measure}' needs an intervention of kind {kind}, which is not declared"
    (several,) = problems(claimed(measure, two, one))
    assert several.message == (
        f"measure '{measure}' is of one intervention, but 'two' and 'one' are of kind {kind}: leave one"
    )
    assert all(found.source_line == f"    measure: {measure}" for found in (missing, several))


@pytest.mark.parametrize(
    ("measure", "section", "refused"),
    [
        ("depth_slope", "depth: {}", True),
        ("early_share", "depth: {}", True),
        ("specialization", "specialization: {}", True),
        ("integration", "integration: {index: participation}", True),
        ("integration", "integration: {index: interaction_share}", False),
        ("similarity", "overlap: {}", False),
        ("retention", "overlap: {}", False),
    ],
)
def test_ranks_have_no_mass(measure: str, section: str, refused: bool, problems: Problems) -> None:
    lost = "  - {name: lost, kind: ablation, pairwise: 4}\n" if "interaction" in section else ""
    text = claimed(measure, lost).replace("method: eap-ig, steps: 5", "method: rank-average, methods: [eap, gim]")
    text = text.replace("  overlap: {top_k: [50, 100, 200]}\n  depth: {}\n", f"  {section}\n")
    text = text.replace("kind: difference", "kind: bound, bound: 0.1, alternative: greater")
    found = problems(text)
    assert [one.message for one in found] == [
        f"measure '{measure}': edges are scored by ranks, which have no mass: the shares of layers and components are "
        "those of their numbers of edges; take one method of attribution for it"
    ] * refused
    assert problems(text.replace("rank-average, methods: [eap, gim]", "gim")) == ()


def test_a_targeted_effect_is_compared_with_random_groups(problems: Problems) -> None:
    aimed = "  - {name: early, kind: targeted_ablation, of: circuit, random: 0}\n"
    assert problems(claimed("transfer", aimed, f"  - {{name: c, kind: {OF_INTERVENTIONS['transfer']}}}\n")) == ()
    (found,) = problems(claimed("targeted", aimed))
    assert found.message == ("measure 'targeted' compares with random groups, but 'early' has none (`random: 0`)")
    assert found.source_line == "    measure: targeted"


def test_two_causal_models_have_no_attention_to_the_right_to_compare(problems: Problems) -> None:
    looks = "  - {name: looks, kind: attention}\n"
    (found,) = problems(claimed("right_context", looks, role="control"))
    assert found.message == (
        "measure 'right_context' is exactly 0, without any spread, where both models are autoregressive, as in "
        "'control': leave such pairs out by `where`; others may be compared with zero"
    )
    assert found.source_line == "    measure: right_context"
    contrast = claimed("right_context", looks).replace(
        "where: {role: treatment}", "contrast: {role: [treatment, control]}"
    )
    assert [one.message for one in problems(contrast)] == [found.message]


@pytest.mark.parametrize(
    ("denoising", "refused"),
    [
        ("steps: 4", ""),
        ("steps: [4, per_token]", ""),
        ("reveal: confidence, steps: 2", ""),
        ("steps: per_token", "per_token"),
        ("steps: [per_token, 4]", "per_token"),
        ("steps: 1", "1"),
        ("reveal: all_masked", "all_masked"),
    ],
)
def test_a_decision_time_needs_several_steps(denoising: str, refused: str, problems: Problems) -> None:
    lens = "  - {name: lens, kind: logit_lens}\n"
    found = problems(claimed("decision_time", lens) + f"denoising: {{{denoising}}}\n")
    assert [one.message for one in found] == [
        f"measure 'decision_time' needs several denoising steps, but {refused} reads every answer in one: give "
        "`denoising` a number of `steps` (hypotheses are decided at the first of several)"
    ] * bool(refused)
    assert all(one.source_line == "    measure: decision_time" for one in found)
    (missing,) = problems(claimed("decision_time") + f"denoising: {{{denoising}}}\n")
    assert missing.message == "measure 'decision_time' needs an intervention of kind logit_lens, which is not declared"


@pytest.mark.long
def test_most_mistakes_are_one_problem_and_not_a_cascade(problems: Problems) -> None:
    several = {name for name, (old, new, _, _) in CASES.items() if len(problems(STUDY.replace(old, new, 1))) > 1}
    assert several == {"number as key", "bad model name"}  # pairs refer to the model by its former name


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_that_is_not_implemented_is_refused_by_name(setting: str, problems: Problems) -> None:
    assert [p.message for p in problems(STUDY + setting + "\n")] == [SETTINGS[setting]]


FEW_DRAWS = {
    "replicates": (
        "statistics: {confidence: 0.999, bootstrap: {replicates: 1999}}", "1999",
        "expected at least 2000 replicates for a confidence of 0.999 (2 / (1 - confidence)), got 1999: the ends of an "
        "interval would be the extreme replicates"),
    "replicates by default": (
        "statistics: {confidence: 0.9999}", "0.9999",
        "expected at least 20000 replicates for a confidence of 0.9999 (2 / (1 - confidence)), got 5000: the ends of "
        "an interval would be the extreme replicates"),
    "tests by quantiles": (
        "statistics: {confidence: 0.99, bootstrap: {method: percentile, replicates: 200}}", "",
        ""),
    "tests by quantiles, too few": (
        "statistics: {confidence: 0.99, bootstrap: {method: percentile, replicates: 199}}", "199",
        "expected at least 200 replicates for a confidence of 0.99 (2 / (1 - confidence)), got 199: the ends of an "
        "interval would be the extreme replicates"),
}  # fmt: skip
"""Statistics -> where the complaint stands and what it says; empty where they are enough."""


@pytest.mark.parametrize("name", FEW_DRAWS)
def test_too_few_draws_for_the_confidence_are_refused(name: str, problems: Problems) -> None:
    added, place, message = FEW_DRAWS[name]
    found = problems(f"{STUDY}{added}\n")
    if not message:
        assert found == ()
        return
    one = found[0]
    line = f"{STUDY}{added}".splitlines()[one.line - 1]
    assert one.message == message and line[one.column - 1 :].startswith(place)


def test_a_level_that_no_replicates_can_reach_after_the_correction_is_refused(problems: Problems) -> None:
    more = "".join(
        f"  - {{id: h{number}, measure: similarity, where: {{role: treatment}}, test: {{kind: difference}}}}\n"
        for number in range(3)
    )
    statistics = "statistics: {bootstrap: {method: percentile, replicates: 150}, correction: CORRECTION}\n"
    (one,) = problems(STUDY + more + statistics.replace("CORRECTION", "holm"))
    assert one.message == (
        "with 150 replicates no test by their quantiles can reach the level 0.05: the smallest p is 0.0662 after the "
        "correction over 5 hypotheses; at least 199 are needed"
    )
    assert problems(STUDY + more + statistics.replace("CORRECTION", "none")) == ()
    assert problems(STUDY + more + statistics.replace("CORRECTION", "holm").replace("150", "199")) == ()


def test_permutations_that_reach_no_level_are_refused(problems: Problems) -> None:
    few = STUDY.replace("{top_k: [50, 100, 200]}", "{top_k: [50, 100, 200], permutations: 39}")
    assert few != STUDY
    (one,) = problems(few)
    assert one.message == "expected at least 40 permutations at the level 0.05, got 39: no p-value could be below 0.025"
    assert problems(few.replace("permutations: 39", "permutations: 40")) == ()


def test_random_seeds_need_a_seed_of_every_pair(problems: Problems) -> None:
    random_seeds = STUDY + "statistics: {units: {seed: random, template: random}}\n"
    assert problems(random_seeds) == ()
    without = random_seeds.replace("role: control, seed: 0}", "role: control}")
    (found,) = problems(without)
    assert found.message == "training seeds are random (statistics.units), but pair 'control' has no `seed`"
    assert "name: control" in found.source_line


def test_halves_of_the_prompts_have_no_random_templates(problems: Problems) -> None:
    halves = STUDY.replace("role: control, seed: 0}", "role: control, prompts: halves}")
    assert problems(halves) == ()
    (found,) = problems(halves + "statistics: {units: {template: random}}\n")
    assert "so templates cannot be random" in found.message
    assert found.source_line[found.column - 1 :].startswith("halves")


def test_a_contrast_level_that_no_pair_or_task_has_is_not_estimable(problems: Problems) -> None:
    without = STUDY.replace("  - {name: control, before: arm, after: continued, role: control, seed: 0}\n", "")
    assert [p.message for p in problems(without)] == ["not estimable: no pair has the role 'control'"] * 2
    without = STUDY.replace("  - {name: ioi, examples: 100}\n", "")
    assert {p.message for p in problems(without)} == {"not estimable: no task has the regime 'local'"}


def test_problems_of_every_layer_are_reported_at_once(problems: Problems, snapshot: SnapshotAssertion) -> None:
    text = (
        STUDY.replace("name: study", "name: study\nname: twice\nsed: 1")
        .replace("after: mdm", "after: mdn")
        .replace("name: ioi, examples: 100", "name: io, examples: -1")
        .replace("{name: countdown}", "{name: countdwn}")
        .replace("margin: 0.2", "margin: .inf")
        .replace("steps: 5", "steps: 5, method: eap")
        .replace("./mdm", "./gone")
    )
    assert SpecError(problems(text)).render() == snapshot


def test_a_broken_entry_does_not_make_others_look_wrong(problems: Problems) -> None:
    text = STUDY.replace("paradigm: masked_diffusion", "paradigm: diffusion")
    text = text.replace("role: control, seed", "role: contrl, seed").replace("name: circuit,", "name: circuit!,")
    assert [p.line for p in problems(text)] == [5, 9, 15]


def test_the_rest_of_a_broken_entry_is_still_checked(problems: Problems) -> None:
    text = STUDY.replace("./mdm, paradigm: masked_diffusion", "./gone, paradigm: diffusion")
    text = text.replace("before: arm, after: mdm, role: treatment", "before: arn, after: mdn, role: treatmnt")
    text = text.replace("{name: ioi, examples: 100}", "{name: io, examples: 0}")
    assert [(p.line, p.message.split(",")[0]) for p in problems(text)] == [
        (5, "no such folder: gone"),
        (5, "expected 'autoregressive' or 'masked_diffusion'"),
        (8, "unknown model 'arn' (did you mean 'arm'?)"),
        (8, "unknown model 'mdn' (did you mean 'mdm'?)"),
        (8, "expected 'treatment'"),
        (11, "unknown task 'io' (did you mean 'ioi'?)"),
        (11, "expected a number not below 1"),
    ]


def test_a_long_list_of_problems_ends_with_a_count(problems: Problems) -> None:
    found = problems(STUDY + "".join(f"x{n}: 1\n" for n in range(60)))
    assert len(found) == 60
    assert str(SpecError(found)).splitlines()[-1] == "... and 10 more problems"
