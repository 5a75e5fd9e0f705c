"""Specs to start from, as they are written by `mechshift init`."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import PurePath

LONGEST_NAME = 80
"""Characters that the name of a study may have."""
_NO_NAME = re.compile(r"[^a-z0-9._-]+")
_NO_TEXT = frozenset({"true", "false", "null"})
"""What YAML reads as a value of another kind, as it does numbers."""


@dataclass(frozen=True, slots=True)
class Starter:
    """A template: what it shows, its spec, and the files that the spec refers to.

    Attributes:
        companions: File name -> text of each file that belongs beside the spec.
    """

    name: str
    summary: str
    spec: str
    companions: dict[str, str]

    def named(self, file: str) -> Starter:
        """The same for a spec file of another name: the study, and with it its run directory, is called as the file.

        What no name may hold becomes a hyphen, so that `my study.yaml` is the study `my-study`.

        Args:
            file: Name of the spec file, without folder.
        """
        name = _NO_NAME.sub("-", PurePath(file).stem.lower()).strip("-._")[:LONGEST_NAME] or self.name
        value = f'"{name}"' if name[0].isdigit() or name in _NO_TEXT else name

        def said(text: str) -> str:
            text = text.replace(f"\nname: {self.name}\n", f"\nname: {value}\n")
            text = text.replace(f"runs/{self.name}", f"runs/{name}")
            return re.sub(rf"(?<![\w-]){re.escape(self.name)}\.yaml", lambda _: shlex.quote(file), text)

        return replace(self, spec=said(self.spec), companions={at: said(text) for at, text in self.companions.items()})


_SUMMARIES = {
    "quickstart": "a complete study with the bundled models: two tasks, treatment and control, four hypotheses",
    "own-models": "checkpoints of your own: parent, diffusion model and control",
    "custom-task": "a task of your own from a JSON Lines file",
    "gpt2-diffugpt": "a published pair from the Hub, without a control",
    "base-instruct": "a base model and its tuned one (SFT, DPO, LoRA, ...), from the Hub",
    "checkpoints": "a series of checkpoints of one training, from the Hub",
    "interventions": "every intervention on one task: faithfulness, transfer, patching, knock-outs, the logit lens",
    "inference-budgets": "does a verdict depend on the number of denoising steps?",
    "calibration": "A/A data: halves of the prompts, and another training seed",
    "own-measure": "a measure of your own, in a Python file",
    "gate": "findings as a regression test, with a workflow for GitHub",
}
_COMPANIONS = {
    "custom-task": ("custom-task.jsonl",),
    "own-measure": ("mlp_share.py",),
    "gate": ("gate-workflow.yml",),
}
NEEDS_MODELS = ("own-models",)
"""Templates whose models are the user's to fill in."""


def starters() -> dict[str, str]:
    """Name -> one line on what the template shows."""
    return dict(_SUMMARIES)


def starter(name: str) -> Starter:
    """A template by name.

    Raises:
        KeyError: if there is none of that name.
    """
    folder = files("mechshift_core.spec") / "templates"
    companions = {file: (folder / file).read_text(encoding="utf-8") for file in _COMPANIONS.get(name, ())}
    return Starter(name, _SUMMARIES[name], (folder / f"{name}.yaml").read_text(encoding="utf-8"), companions)
