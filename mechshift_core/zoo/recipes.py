"""What `mechshift pairs train` is told: architecture, corpus mix and the phases of training."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mechshift_core.tasks import BUNDLED_TASKS


def _known_task(name: str) -> str:
    if name not in BUNDLED_TASKS:  # the tokenizer has no words for others
        raise PydanticCustomError("unknown_task", "a task: {known}", {"known": ", ".join(sorted(BUNDLED_TASKS))})
    return name


def kept_name(phase: str, step: int, settings: Phase) -> str:
    """Name of the model that is kept after a step of a phase, e.g. `mdm-step-0200`."""
    return f"{phase}-step-{step:0{len(str(settings.steps))}d}"


def split_name(model: str) -> tuple[str, int | None]:
    """The phase that a model comes out of, and its step where it was kept within it."""
    found = re.fullmatch(r"(.+)-step-(\d+)", model)
    return (model, None) if found is None else (found[1], int(found[2]))


Positive = Annotated[int, Field(gt=0)]
TaskName = Annotated[str, AfterValidator(_known_task)]


class Strict(BaseModel):
    """Unknown keys are refused, and nothing is changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(Strict):
    """A Qwen2 decoder with untied embeddings."""

    layers: Positive = 6
    hidden_size: Positive = 128
    heads: Positive = 4
    key_value_heads: Positive = 2
    intermediate_size: Positive = 384
    context: Positive = 64

    @model_validator(mode="after")
    def _heads_fit(self) -> Architecture:
        if self.hidden_size % (2 * self.heads):
            raise PydanticCustomError("heads", "expected hidden_size to be a multiple of 2 * heads (rotary pairs)")
        if self.heads % self.key_value_heads:
            raise PydanticCustomError("heads", "expected heads to be a multiple of key_value_heads")
        return self


class Phase(Strict):
    """One run of the optimizer: AdamW, linear warm-up, cosine decay to a tenth."""

    steps: Positive
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Annotated[int, Field(ge=0)] = 100
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    keep: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    """Checkpoints within the phase that are kept as models of their own, `mdm-step-0200` beside `mdm`: after these
    steps, or so many, evenly spaced. The other models do not depend on it."""

    @model_validator(mode="after")
    def _kept_within(self) -> Phase:
        kept = self.kept_steps
        if any(after <= before for before, after in pairwise(kept)) or (kept and kept[-1] >= self.steps):
            text = "expected steps in increasing order, below the {steps} of the phase, got {got}"
            if isinstance(self.keep, int):
                text = "expected fewer checkpoints than the {steps} steps of the phase, got {got}"
            raise PydanticCustomError("keep", text, {"steps": self.steps, "got": str(self.keep)})
        return self

    @property
    def kept_steps(self) -> tuple[int, ...]:
        """The steps after which a checkpoint is kept."""
        if isinstance(self.keep, int):
            return tuple(round(self.steps * number / (self.keep + 1)) for number in range(1, self.keep + 1))
        return self.keep or ()


class Diffusion(Phase):
    """Masked-diffusion post-training."""

    annealing: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the steps over which attention opens from causal to bidirectional; 0: bidirectional from the first."""
    masked_prompts: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the examples whose prompt is masked too."""


class PairRecipe(Strict):
    """One seed's models: `arm`, from that one checkpoint `mdm` and `arm-continued`, and `mdm-scratch` if asked for."""

    schema_: Literal["mechshift-pair/v1"] = Field("mechshift-pair/v1", alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    seed: Annotated[int, Field(ge=0)] = 0
    architecture: Architecture = Architecture()
    batch: dict[TaskName, Positive] = Field(min_length=1)
    """Examples of each task in a training step."""
    pool: Positive = 40_000
    """Distinct draws per task that the corpus holds."""
    prompt_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of a prompt token in the autoregressive loss, where an answer token weighs 1."""
    pretrain: Phase
    diffusion: Diffusion
    scratch: Diffusion | None = None
    """Masked diffusion from the random weights that `arm` starts from. Its steps are all that the model gets: those of
    `pretrain` and `diffusion` together, if it is to have been trained for as long as `mdm`."""
    evaluation: Positive = 1000
    """Held-out prompts per task in the evaluation."""
    threads: Positive = 2
    """CPU threads; sums over threads round differently, so the weights are reproducible at the same number."""

    def to_json(self) -> str:
        """The text of `recipe.json` and `training.json`; what is not set is left out."""
        return self.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n"

    def phases(self) -> dict[str, Phase]:
        """The models to train, in order, with the phase that each comes out of."""
        trained: dict[str, Phase] = {"arm": self.pretrain, "mdm": self.diffusion, "arm-continued": self.diffusion}
        return trained if self.scratch is None else {**trained, "mdm-scratch": self.scratch}

    def without_kept(self) -> PairRecipe:
        """The recipe as it is where no checkpoints are kept."""
        names = ("pretrain", "diffusion", "scratch")
        phases = {name: phase for name in names if (phase := getattr(self, name)) is not None}
        return self.model_copy(update={name: one.model_copy(update={"keep": None}) for name, one in phases.items()})

    def steps_since_random(self, model: str) -> int | None:
        """Optimizer steps between a model and its random weights; None for one that the recipe does not have."""
        name, step = split_name(model)
        phase = self.phases().get(name)
        if phase is None:
            return None
        own = phase.steps if step is None else step
        return own + (self.pretrain.steps if name in ("mdm", "arm-continued") else 0)
