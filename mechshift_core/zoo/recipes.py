"""What `mechshift pairs train` is told: architecture, corpus mix and the phases of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mechshift_core.tasks import BUNDLED_TASKS


def _known_task(name: str) -> str:
    if name not in BUNDLED_TASKS:  # the tokenizer has no words for others
        raise PydanticCustomError("unknown_task", "a task: {known}", {"known": ", ".join(sorted(BUNDLED_TASKS))})
    return name


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

    def steps_since_random(self, model: str) -> int | None:
        """Optimizer steps between a model and its random weights; None for one that the recipe does not have."""
        phase = self.phases().get(model)
        if phase is None:
            return None
        return phase.steps + (self.pretrain.steps if model in ("mdm", "arm-continued") else 0)
