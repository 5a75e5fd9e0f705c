"""What `mechshift pairs train` is told about post-training a pretrained model: a recipe with a `base`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from mechshift_core.tasks import TASKS
from mechshift_core.zoo.recipes import Diffusion, PairRecipe, Phase, Positive, Strict

AT_BLANK = "/at_blank"
"""Behind the name of a task: asked for at the blank itself, which only a diffusion model can answer."""


def _known_task(name: str) -> str:
    if name.removesuffix(AT_BLANK) not in TASKS:
        raise PydanticCustomError("unknown_task", "a task: {known}", {"known": ", ".join(sorted(TASKS))})
    return name


SentencesOf = Annotated[str, AfterValidator(_known_task)]
"""A task, by its name; `infilling/at_blank` asks at the blank."""


class _Named(BaseModel):
    """What tells the kinds of recipes apart."""

    base: Any = None


class Lora(Strict):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685), the only weights that are trained."""

    rank: Positive = 16
    alpha: Positive = 32
    targets: tuple[str, ...] = ()
    """Names of the modules that get one; every linear layer of the blocks unless given."""


class Text(Strict):
    """Running text in the training batches, so that the model stays a language model."""

    per_batch: Positive
    """Sequences of it in a training step."""
    length: Annotated[int, Field(ge=2)] = 48
    """Tokens of a sequence, without what the tokenizer puts before every text."""
    files: tuple[str, ...] = ()
    """Text files (UTF-8); relative ones are looked up from the recipe's folder."""
    samples: Annotated[int, Field(ge=0)] = 0
    """Sequences that the base model writes itself."""
    start: str | None = None
    """The token that they begin with, which is not part of them; the tokenizer's beginning or end of a text unless
    given."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Share of the probability from which tokens are drawn."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Text:
        if not self.files and not self.samples:
            raise PydanticCustomError("text", "expected files, or samples above 0: there is no text otherwise")
        return self


class Evaluated(Strict):
    """What is measured, and how often."""

    prompts: Positive = 200
    """Held-out prompts of each task in the evaluation of what was trained."""
    every: Positive = 100
    """Steps between two points of the learning curve."""
    curve_prompts: Positive = 40
    """Held-out prompts of each task in a point of it."""


class PostTrainingRecipe(Strict):
    """From one base: `mdm` by masked diffusion, and the control `arm-continued`, as long and on the same batches."""

    schema_: Literal["mechshift-pair/v1"] = Field("mechshift-pair/v1", alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    seed: Annotated[int, Field(ge=0)] = 0
    base: str
    """Source of the pretrained model, as in a spec; a relative folder is looked up from the recipe's."""
    mask_token: str | Annotated[int, Field(ge=0)] | None = None
    """The token that stands for a masked one; that of the tokenizer unless given."""
    lora: Lora | None = None
    """Adapters; all weights are trained unless given."""
    batch: dict[SentencesOf, Positive] = Field(min_length=1)
    """Sentences of each task in a training step."""
    text: Text | None = None
    pool: Positive = 4000
    """Distinct sentences of each task that the corpus holds."""
    prompt_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of a prompt token in the autoregressive loss, where an answer token, or one of text, weighs 1."""
    diffusion: Diffusion
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of the base and of what is computed; adapters are float32 in any case."""
    tokens_at_once: Positive = 1024
    """Tokens that go through the model together, padding included; a step's sentences are cut by length."""
    evaluation: Evaluated = Evaluated()
    threads: Positive = 2
    """CPU threads; sums over threads round differently, so the weights are reproducible at the same number."""

    @model_validator(mode="after")
    def _whole_in_float32(self) -> PostTrainingRecipe:
        if self.lora is None and self.dtype != "float32":
            raise PydanticCustomError(
                "dtype", "without lora all weights are trained, which small steps can't change in bfloat16: use float32"
            )
        return self

    def to_json(self) -> str:
        """The text of `recipe.json` and `training.json`; what is not set is left out."""
        return self.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n"

    def phases(self) -> dict[str, Phase]:
        """The models to train, in order, with the phase that each comes out of."""
        return {"mdm": self.diffusion, "arm-continued": self.diffusion}

    def without_kept(self) -> PostTrainingRecipe:
        """The recipe as it is where no checkpoints are kept."""
        return self.model_copy(update={"diffusion": self.diffusion.model_copy(update={"keep": None})})

    def steps_since_random(self, model: str) -> None:
        """How long the base was trained is not known."""
        return

    def resolve(self, folder: Path) -> PostTrainingRecipe:
        """The recipe with the paths in it as seen from its folder."""
        text = self.text
        if text is not None:
            text = text.model_copy(update={"files": tuple(str(folder / name) for name in text.files)})
        base = self.base
        if base.startswith("gguf:"):
            base = f"gguf:{folder / base.removeprefix('gguf:')}"
        elif not base.startswith(("bundled:", "hf:")):
            base = str(folder / base)
        return self.model_copy(update={"base": base, "text": text})


def load_any_recipe(path: Path) -> PairRecipe | PostTrainingRecipe:
    """Read a recipe from YAML: with a `base` it post-trains a pretrained model, without it trains from random weights.

    Raises:
        SpecError: with file, line and column of everything that is wrong.
    """
    from mechshift_core.spec.load import load_model_file

    if load_model_file(path, _Named).base is None:
        return load_model_file(path, PairRecipe)
    return load_model_file(path, PostTrainingRecipe).resolve(path.parent)
