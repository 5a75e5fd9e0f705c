"""The grammar of a spec; the text under each field is its documentation and goes into the JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from mechshift_core.kinds.extensions import Extension
from mechshift_core.kinds.section import Intervention
from mechshift_core.registry import generation
from mechshift_core.spec.base import MOST, SCHEMA_TITLE, Dtype, Location, Name, Regime, Section, Seed, Share
from mechshift_core.spec.dynamic import Made
from mechshift_core.spec.hypotheses import Filter, Hypothesis, HypothesisTest
from mechshift_core.spec.measures import Measures, default_measures, measures_model
from mechshift_core.spec.pairs import MOST_TRAJECTORIES, PairSpec, TrajectorySpec
from mechshift_core.spec.sensitivity import Sensitivity, default_sensitivity, sensitivity_model

GENERATED = 200
"""Prompt pairs of a generated task whose `examples` are not given."""
AxisName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
AxisValue = Annotated[str, Field(max_length=200)] | bool | int | float
Most = Field(max_length=MOST)
Text = Annotated[str, Field(max_length=1000)]
NonEmpty = Annotated[str, Field(min_length=1, max_length=4096)]
TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class ModelSpec(Section):
    """A model to read."""

    source: NonEmpty
    """`bundled:NAME/MODEL` (shipped with the package, or fetched), `hf:ORG/NAME` (the Hub), `gguf:FILE` (llama.cpp), or
    a local folder; a relative path is looked up from the folder of the spec file."""
    adapter: NonEmpty | None = None
    """Adapter in the format of PEFT (LoRA and its kin) that is merged into the weights: a folder, looked up as `source`
    is, or `hf:ORG/NAME`."""
    paradigm: Literal["autoregressive", "masked_diffusion"]
    """How the model predicts: the next token from those before, or masked tokens from all others."""
    mask_token: NonEmpty | TokenId | None = None
    """The mask token (masked diffusion only): its text as in the vocabulary, or, where an ordinary token serves as the
    mask, that token's id; the checkpoint's own unless given."""
    shifted: bool = Field(default_factory=lambda data: data.get("paradigm") == "masked_diffusion")
    """Whether token i is predicted at position i-1 (masked diffusion only; true unless given)."""
    revision: NonEmpty | None = None
    """Commit (or branch, or tag) of a Hub repository."""
    dtype: Dtype = "auto"
    """Number format of the weights; `auto` follows `execution.dtype`."""
    tokenizer: NonEmpty | None = None
    """Folder of the tokenizer, or `hf:ORG/NAME`, where it is not the model's own; looked up as `source` is."""
    add_bos_token: bool | None = None
    """Whether prompts begin with the tokenizer's beginning-of-sequence token; as the tokenizer writes texts unless
    given. A text that begins with it gets no second one, and data sets of token ids are read as they are."""

    @property
    def reads_before(self) -> bool:
        """Whether a token is predicted at the position before it, and not at its own."""
        return self.paradigm == "autoregressive" or self.shifted

    @property
    def origin(self) -> Literal["bundled", "hf", "gguf", "local"]:
        """Where the model comes from."""
        for origin in ("bundled", "hf", "gguf"):
            if self.source.startswith(f"{origin}:"):
                return origin
        return "local"

    @property
    def location(self) -> str:
        """`source` without its prefix: a bundled model's key, a repository, a file, or a folder."""
        return self.source if self.origin == "local" else self.source.partition(":")[2]


def _registered_regime(data: dict[str, Any]) -> Regime:
    from mechshift_core.tasks import TASKS

    task = TASKS.get(data.get("name", ""))
    return "local" if task is None else task.regime


class TaskSpec(Section):
    """Counterfactual prompts: a generated task, or a data set of one's own."""

    name: Name
    """Name of a generated task; with `dataset`, any name."""
    regime: Regime = Field(default_factory=_registered_regime)
    """`local`: what precedes the answer determines it; `global`: constraints on all sides do. Known for generated
    tasks, required with `dataset`."""
    dataset: NonEmpty | None = None
    """File of counterfactual pairs: JSON Lines, or CSV as EAP-IG and CircuitKIT have it, named `.csv`; a relative path
    is looked up from the folder of the spec file. `hf:ORG/NAME/FILE.jsonl` (or `.csv`) is a file of a data set on the
    Hub."""
    revision: NonEmpty | None = None
    """Commit, branch or tag of a data set on the Hub; its main branch unless given."""
    metric: Name | None = None
    """What is read from the logits of a prompt and attributed: `logit_difference`, `probability_difference`,
    `log_probability`, or one of your own; that of the task unless given, of a data set `logit_difference`."""
    examples: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default_factory=lambda data: GENERATED if data.get("dataset") is None else None
    )
    """Prompt pairs: so many are generated, 200 unless given. Of a data set all are read unless given; where it has more
    usable ones, so many are drawn from the seed, from every template in proportion."""
    target_delimiter: Annotated[str, Field(max_length=100)] = " "
    """What stands between prompt and answer where neither brings a space of its own (with `dataset`, text only); empty
    for languages that are written without spaces. What it has before its spaces, a line break or `:`, ends the prompt;
    with other characters than white space it stands there in any case."""
    words: Literal["auto", "bundled", "natural"] = "auto"
    """Words and sentences of a generated task. `natural`: many words and fluent sentences, for the tokenizers of
    pretrained models; a template is a wording. `bundled`: the few words that the bundled models know. `auto`:
    `natural`, unless the models' tokenizer lacks words of it."""
    ask: Literal["afterwards", "at_blank"] = "afterwards"
    """Where `infilling` asks for the missing word. `afterwards`: behind the sentence, so that an autoregressive model
    can answer too. `at_blank`: where the blank is, between what stands before it and behind it; only for pairs of
    masked diffusion models, since an autoregressive one does not see what is behind."""
    seed: Seed | None = None
    """Seed of the prompts, generated or drawn; the seed of the spec unless given."""

    @model_validator(mode="after")
    def _custom_regime(self) -> TaskSpec:
        if self.dataset is not None and "regime" not in self.model_fields_set:
            raise PydanticCustomError("missing_regime", "a task with a data set must say its regime: local or global")
        return self


Selection = Literal["both", "before", "any", "none"]


class Select(Section):
    """Which examples enter the analysis."""

    correct: Selection = "both"
    """`both`: examples that both models of a pair answer correctly; `before`: that the model before does; `any`: that
    one of them or both do; `none`: all, right or wrong."""
    by: Literal["metric", "argmax"] | None = None
    """What makes an answer correct, on every task. `metric`: the task's metric is above 0, so the model prefers the
    answers to the foils. `argmax`: its most likely token of all is an answer. Unless given, each task has its own:
    `metric` where an answer is a set of tokens or part of a number (sva, greater_than, data sets with several answers
    in a line), `argmax` where it is one word (the others). Both accuracies are reported."""


Masked = Annotated[float, Field(ge=0, le=1)]


class PartOfSteps(Section):
    """Some of the denoising steps: what is measured there alone. Prompts without such a state are left out."""

    of: Annotated[int, Field(ge=1, le=1000)] | None = None
    """In how many steps an answer is revealed; one token a step unless given."""
    at: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Which of them: the state at the start of this step, 1 is the first."""
    masked: tuple[Masked, Masked] | None = None
    """Or the states in which a share of the answer is masked, from the first number to the second, both included."""

    @property
    def fault(self) -> str:
        """Why it is no part of the steps; empty where it is one."""
        if (self.at is None) == (self.masked is None):
            return "expected either `at`, a step, or `masked`, a range of shares"
        if self.at is not None and self.of is not None and self.at > self.of:
            return f"expected a step of {self.of}, got step {self.at}"
        if self.masked is not None and self.masked[0] > self.masked[1]:
            return "expected the smaller share first, e.g. `masked: [0.5, 1]`"
        return ""

    def __str__(self) -> str:
        of = "" if self.of is None else f" of {self.of}"
        return f"step {self.at}{of}" if self.masked is None else f"masked {self.masked[0]:g}-{self.masked[1]:g}{of}"


Steps = Annotated[int, Field(ge=1, le=1000)] | Literal["per_token"] | PartOfSteps


class Denoising(Section):
    """How masked diffusion models are read where an answer has several tokens."""

    reveal: Literal["left_to_right", "confidence", "all_masked"] = "left_to_right"
    """The order in which the tokens of an answer are revealed: from left to right, or the surest one on the clean
    prompt first (masked diffusion models; autoregressive ones go from left to right). `all_masked`: none is revealed,
    the answer is read in one pass."""
    steps: Steps | Annotated[tuple[Steps, ...], Field(min_length=1)] = "per_token"
    """`per_token`: one token is revealed a step, and the answer read in the step that decides it. A number: the answer
    is revealed in so many steps (at most one a token), and all that is measured is averaged over those in which the
    token that is read is still hidden. `{of: 4, at: 1}` is one of these steps alone, and `{masked: [0.75, 1]}` the
    states in which so much of the answer is masked. Several: inference budgets; hypotheses are decided at the first,
    and reported at all."""

    @property
    def budgets(self) -> tuple[str, ...]:
        """What the inference budgets are called, in their order."""
        if self.reveal == "all_masked":
            return ("all_masked",)
        return tuple(map(str, self.steps if isinstance(self.steps, tuple) else (self.steps,)))

    @property
    def one_step(self) -> str:
        """The first budget, if every answer is read in a single step at it; else empty."""
        first, budget = self.steps[0] if isinstance(self.steps, tuple) else self.steps, self.budgets[0]
        single = isinstance(first, PartOfSteps) and first.at is not None
        return budget if single or budget in ("all_masked", "per_token", "1") else ""


class Units(Section):
    """What a finding generalises over: `random` units are resampled, `fixed` ones are taken as they are."""

    prompt: Literal["random", "fixed"] = "random"
    """Prompts."""
    template: Literal["random", "fixed"] = "fixed"
    """Sentence frames, which prompts are nested in: `random` draws templates, each with all of its prompts. Below 5
    templates there are points only. `fixed` ones are strata: the error of per-prompt measures is that within them."""
    seed: Literal["random", "fixed"] = "fixed"
    """Training seeds, which pairs are nested in: `random` tests hypotheses over prompts and seeds, crossed; every pair
    needs its `seed`. Below 5 seeds there are points only."""


class Bootstrap(Section):
    """Intervals by resampling prompts."""

    method: Literal["studentized", "percentile", "bca"] = "studentized"
    """`studentized` holds its level with few prompts; `percentile` and `bca` need more. Hypotheses are decided by
    estimate and standard error of the replicates, with t quantiles; `percentile` takes the replicates' own quantiles,
    moved so that their mean is the estimate (not where seeds are random: replicates are over prompts alone)."""
    replicates: Annotated[int, Field(ge=100, le=1_000_000)] = 5000
    """Resamples: at least 2 / (1 - `confidence`), 40 at .95 and 2000 at .999; for tests by `percentile` at least 100,
    and enough for a p-value that reaches the level after the correction."""


class MixedModel(Section):
    """A mixed-effects model of the layer-wise shift: one row for each prompt and layer on every pair."""

    formula: NonEmpty = "shift ~ depth * regime * role"
    """Response and fixed effects, of the columns depth (-1/2 to 1/2), layer, prompt, template, task, regime, pair, role
    and seed. The first level of a factor in alphabetical order is its reference."""
    random: Annotated[tuple[NonEmpty, ...], Field(min_length=1)] | Literal["units"] = "units"
    """Random effects, `effects | group`; no intercepts, since the shifts of a prompt sum to zero. `units`: slopes over
    depth of all units that there are, `prompt`, and with several pairs `prompt:pair`, `pair` and `task:pair`; where
    templates are random, `template` and `template:pair` too. Effects that vary over a unit that is not among the random
    effects are given without a test, and all where a task has fewer than 5 random templates."""


class Statistics(Section):
    """How estimates become findings."""

    units: Units = Units()
    """What is random."""
    location: Location = "mean"
    """What is estimated of measures that have one value for each prompt (`depth_slope`, `early_share`, `alignment`,
    `decision_time`, `right_context`, `revealed_share`, `targeted`, `overwritten`, `brier`, `residual_shift`,
    `prediction_shift`): the `mean`, or the 20 % trimmed mean (`trimmed`), which a few extreme prompts do not move.
    Where values are skewed that is another quantity than the mean. Of random templates it is the trimmed mean of their
    means. Tables other than `findings` and `indices` keep the mean."""
    bootstrap: Bootstrap = Bootstrap()
    """Intervals."""
    mixed_model: MixedModel | None = None
    """A mixed-effects model of the layer-wise shift, on shares and on their centred log-ratios, and beside it the
    slopes over depth in every role and regime with their differences: over prompts and seeds from 5 seeds on, below
    over prompts, for these seeds."""
    confidence: Share = 0.95
    """Coverage of the intervals; hypotheses are tested at one minus it."""
    correction: Literal["holm", "none", "benjamini-hochberg"] = "holm"
    """Correction for the number of hypotheses."""

    @property
    def by_quantiles(self) -> bool:
        """Whether the quantiles of replicates over prompts decide hypotheses: they can't where seeds are random."""
        return self.bootstrap.method == "percentile" and self.units.seed == "fixed"


class Execution(Section):
    """Where and how it runs; nothing here changes what is estimated."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: a GPU where there is one."""
    dtype: Dtype = "auto"
    """Number format of the weights; `auto` is float32, but for models of more than 10^9 parameters that are stored in
    bfloat16 or float16 and go on a GPU: these stay as they are stored. `float64` gives the same findings on every
    processor, for twice the time and memory."""
    batch_size: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = "auto"
    """Examples in one batch; scores do not depend on it."""
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processes of this machine that execute cells, each with a model of its own in memory; of several GPUs they take
    turns. Findings do not depend on it."""
    engine: Literal["local"] = "local"
    """What executes cells."""


class Report(Section):
    """The HTML report."""

    interactive: bool = True
    """Whether the page carries a small script for sliders, filters, sorting and tooltips; it says the same without."""


def interventions_model() -> Any:
    """The section of any registered kind of intervention, told apart by `kind`."""
    from mechshift_core.kinds import INTERVENTIONS

    sections = tuple(kind.section for kind in INTERVENTIONS.values())
    return Annotated[Union[sections], Field(discriminator="kind")]  # noqa: UP007  # a tuple of them


AnyIntervention = Annotated[Intervention, Made(interventions_model)]


class Spec(Section):
    """A study: models, pairs, tasks, what is done to them, what is measured, and what is claimed."""

    schema_: Literal["mechshift/v1"] = Field(alias="schema")
    """Version of this grammar: `mechshift/v1`."""
    name: Name
    """Name of the study, and of its run directory."""
    title: Text = ""
    """Title of the report."""
    seed: Seed = 0
    """Seed of every random draw."""
    extensions: Annotated[tuple[NonEmpty, ...], Field(max_length=MOST)] = ()
    """Python files that bring kinds of their own (tasks, metrics, interventions, measures, tests, architectures), each
    in a list `KINDS`; looked up from the folder of the spec file. They are run only with `--allow-code`."""
    models: Annotated[dict[Name, ModelSpec], Field(min_length=1, max_length=MOST)]
    """The models, by name."""
    pairs: Annotated[tuple[PairSpec, ...], Field(min_length=1, max_length=MOST)]
    """Which models are compared."""
    trajectories: Annotated[tuple[TrajectorySpec, ...], Field(max_length=MOST_TRAJECTORIES)] = ()
    """Series of models of one training, in order."""
    tasks: Annotated[tuple[TaskSpec, ...], Field(min_length=1, max_length=MOST)]
    """What the models are asked."""
    select: Select = Select()
    """Which of the examples enter the analysis."""
    interventions: Annotated[tuple[AnyIntervention, ...], Field(min_length=1, max_length=MOST)]
    """What is done to the models."""
    denoising: Denoising = Denoising()
    """How masked diffusion models are read."""
    measures: Annotated[Measures, Made(measures_model)] = Field(default_factory=default_measures)
    """What is computed; overlap, depth and specialization with their defaults unless given."""
    hypotheses: Annotated[tuple[Hypothesis, ...], Field(max_length=MOST)] = ()
    """What is claimed; one family."""
    statistics: Statistics = Statistics()
    """Units, intervals, and correction of the tests."""
    sensitivity: Annotated[Sensitivity, Made(sensitivity_model)] = Field(default_factory=default_sensitivity)
    """Other choices under which the hypotheses are decided again, to show how much the verdicts depend on them."""
    execution: Execution = Execution()
    """Where and how it runs."""
    report: Report = Report()
    """What the HTML report holds."""
    matrix: Annotated[dict[AxisName, Annotated[tuple[AxisValue, ...], Field(min_length=1, max_length=MOST)]], Most] = (
        Field(default_factory=dict)
    )
    """Axes and their values, `seed: [0, 1, 2]`. An entry of `models`, `pairs`, `trajectories`, `tasks`, `interventions`
    or `hypotheses` that says `${{ seed }}` stands for one entry for each value, or each combination of the axes that it
    names; a text that is nothing else becomes the value itself."""
    overrides: Annotated[dict[Annotated[str, Field(max_length=400)], Any], Field(max_length=MOST)] = Field(
        default_factory=dict
    )
    """Values that replace those above, by dotted path with places or names in lists: `tasks.ioi.examples: 50`. `limit:
    20` stands for at most 20 prompts of every task. What is given with `--set` and `--limit` is written here."""

    model_config = ConfigDict(defer_build=True)

    _path: Path | None = PrivateAttr(default=None)
    _text: str = PrivateAttr(default="")
    _base: tuple[str, dict[str, Any]] = PrivateAttr(default=("", {}))
    _expanded: dict[str, tuple[str, ...]] = PrivateAttr(default_factory=dict)
    _extensions: tuple[Extension, ...] = PrivateAttr(default=())
    _refused: tuple[str, ...] = PrivateAttr(default=())
    _left_out: tuple[str, ...] = PrivateAttr(default=())

    def __repr__(self) -> str:
        parts = ("models", "pairs", "tasks", "interventions", "hypotheses")
        return f"Spec({self.name!r}: {', '.join(f'{len(getattr(self, part))} {part}' for part in parts)})"

    @property
    def path(self) -> Path | None:
        """The file that the spec was loaded from; None for one made in Python."""
        return self._path

    @property
    def text(self) -> str:
        """The file's text, verbatim, and then what was given beside it; empty for a spec made in Python."""
        return self._text

    @property
    def expanded(self) -> Mapping[str, tuple[str, ...]]:
        """Section -> the names of its entries that were written out from the matrix."""
        return self._expanded

    @property
    def base(self) -> tuple[str, dict[str, Any]]:
        """The file's text as it stands there, and what was given beside it."""
        return self._base

    @property
    def refused(self) -> tuple[str, ...]:
        """What of the spec of a finished run this version would refuse, a line each; empty for any other spec."""
        return self._refused

    @property
    def left_out(self) -> tuple[str, ...]:
        """The choices of `sensitivity` of which it has therefore left out some, or all."""
        return self._left_out

    @property
    def loaded_extensions(self) -> tuple[Extension, ...]:
        """The files of `extensions` as they were run, with their hashes."""
        return self._extensions

    @property
    def folder(self) -> Path:
        """The folder that relative paths are looked up from: the spec file's, else the working directory."""
        return Path.cwd() if self._path is None else self._path.parent

    def resolve(self, path: str) -> Path:
        """A path of the spec (`~` allowed) as seen from the spec's folder."""
        return self.folder / Path(path).expanduser()

    @property
    def edge_attribution(self) -> Intervention | None:
        """The intervention that scores edges, which measures are computed from."""
        from mechshift_core.kinds import attributes

        return next((one for one in self.interventions if attributes(one)), None)

    @property
    def ranks_edges(self) -> bool:
        """Whether edges are scored by ranks, which have no mass."""
        attribution = self.edge_attribution
        return attribution is not None and attribution.ranks_edges

    def intervention(self, name: str) -> Intervention:
        """An intervention by its name."""
        return next(one for one in self.interventions if one.name == name)

    @property
    def every_pair(self) -> tuple[PairSpec, ...]:
        """The pairs that are declared, and those that the trajectories come to."""
        return (*self.pairs, *(step for one in self.trajectories for step in one.pairs()))

    def pair(self, name: str | None) -> PairSpec:
        """A pair, declared or of a trajectory, by its name."""
        return next(one for one in self.every_pair if one.name == name)

    def matching(self, group: Filter) -> tuple[tuple[PairSpec, TaskSpec], ...]:
        """Every declared pair and task that a filter selects, in order; unrelated pairs only if named."""
        return tuple(
            (pair, task)
            for pair in self.pairs
            if group.role in (None, pair.role) and group.pair in (None, pair.name)
            if not pair.unrelated or group.role or group.pair
            for task in self.tasks
            if group.regime in (None, task.regime) and group.task in (None, task.name)
        )

    def trajectories_of(self, group: Filter) -> tuple[tuple[TrajectorySpec, TaskSpec], ...]:
        """Every trajectory and task that a filter selects, in the order of the spec."""
        return tuple(
            (one, task)
            for one in self.trajectories
            if group.role in (None, one.role) and group.trajectory in (None, one.name)
            for task in self.tasks
            if group.regime in (None, task.regime) and group.task in (None, task.name)
        )

    def members(self, hypothesis: Hypothesis, group: Filter) -> tuple[tuple[PairSpec | TrajectorySpec, TaskSpec], ...]:
        """What a group of a hypothesis selects: pairs and tasks, or trajectories and tasks where it is about these."""
        return self.matching(group) if hypothesis.along is None else self.trajectories_of(group)


def current() -> type[Spec]:
    """The grammar of a spec with all kinds that are registered now."""
    if _made[0] != generation():
        for section in (HypothesisTest, Hypothesis, Spec):  # a section is built from those before it
            section.model_rebuild(force=True)
        _made[0] = generation()
    return Spec


_made = [0]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec, for editors."""
    schema = current().model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": SCHEMA_TITLE,
        "description": Spec.__doc__,
    }
