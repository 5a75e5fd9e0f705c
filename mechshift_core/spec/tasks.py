"""The sections of prompts: which there are, which are analysed, and in which states of their answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mechshift_core.spec.base import Name, NonEmpty, Regime, Section, Seed

GENERATED = 200
"""Prompt pairs of a generated task whose `examples` are not given."""


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
