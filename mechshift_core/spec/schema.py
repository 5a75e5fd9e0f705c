"""The grammar of a spec; the text under each field is its documentation and goes into the JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import ConfigDict, Field, PrivateAttr

from mechshift_core.kinds.extensions import Extension
from mechshift_core.kinds.section import Intervention
from mechshift_core.registry import generation
from mechshift_core.spec.base import MOST, SCHEMA_TITLE, Dtype, Name, NonEmpty, Section, Seed
from mechshift_core.spec.dynamic import Made
from mechshift_core.spec.hypotheses import Filter, Hypothesis, HypothesisTest
from mechshift_core.spec.measures import Measures, default_measures, measures_model
from mechshift_core.spec.models import ModelSpec
from mechshift_core.spec.pairs import MOST_TRAJECTORIES, PairSpec, TrajectorySpec
from mechshift_core.spec.sensitivity import Sensitivity, default_sensitivity, sensitivity_model
from mechshift_core.spec.statistics import Statistics
from mechshift_core.spec.tasks import Denoising, Select, TaskSpec

AxisName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
AxisValue = Annotated[str, Field(max_length=200)] | bool | int | float
Most = Field(max_length=MOST)
Text = Annotated[str, Field(max_length=1000)]


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
