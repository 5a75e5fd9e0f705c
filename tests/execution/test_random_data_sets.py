"""Random data sets through whole runs of tiny models: no internal error, and no number that Transformers contradicts.

Data sets hold what real ones hold: the same pair twice, one prompt with several corruptions, unknown words, unequal
lengths, the mask token, ids beyond the vocabulary, a space too many, few prompts or none, templates of one prompt.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mechshift_core import run
from mechshift_core.errors import MechshiftError

WORDS = tuple("Ann Bob Cat Dan Eva Fox gave took a the to and".split())
NAMES = WORDS[:6]
SPECIAL = ("<unk>", "<s>", "<mask>")
SIZE = len(SPECIAL) + len(WORDS)
"""Ids that the models know; the tokenizer has one more, `beyond`."""
MASK = SPECIAL.index("<mask>")
TESTS = {"bound": {"kind": "bound", "bound": 0.5, "alternative": "greater"}, "difference": {"kind": "difference"}}


@cache
def home() -> Path:
    """Two random models, and two tokenizers: one that begins texts with `<s>` and one that does not."""
    folder = Path(tempfile.mkdtemp(prefix="random-data-sets-"))
    for seed, name in enumerate(("before", "after")):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=SIZE, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=False, initializer_range=0.3,
            bos_token_id=None, eos_token_id=None, pad_token_id=None,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder / name)
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS, "beyond"])}
    for name in ("plain", "begun"):
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        if name == "begun":
            tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", mask_token="<mask>"
        ).save_pretrained(folder / name)
    return folder


@cache
def transformers_model(name: str, *, causal: bool) -> Any:
    model = AutoModelForCausalLM.from_pretrained(home() / name, dtype=torch.float32)
    model.config.is_causal = causal
    for layer in model.model.layers:
        layer.self_attn.is_causal = causal
    return model.eval()


@cache
def tokenizer(name: str) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(home() / name)


@dataclass(frozen=True)
class Case:
    """A data set and how it is read."""

    rows: tuple[dict[str, Any], ...]
    ids: bool
    begun: bool
    diffusion: bool
    correct: str
    by: str | None
    examples: int | None
    declared: bool | None

    @property
    def tokenizer(self) -> str:
        return "begun" if self.begun else "plain"

    @property
    def begins(self) -> bool:
        return self.begun if self.declared is None else self.declared


names = st.sampled_from(NAMES)
oddities = st.sampled_from(["", "", "", "", "", " ", " <mask>", " unheard", " beyond", " and", " <s>"])


@st.composite
def text_rows(draw: st.DrawFn) -> dict[str, Any]:
    first, second, third = draw(st.permutations(NAMES))[:3]
    middle, odd = draw(st.sampled_from(["and", "gave the"])), draw(oddities)
    start = draw(st.sampled_from(["", "", "", "<s> "]))
    row: dict[str, Any] = {
        "clean": f"{start}{first} {middle} {second} took{odd}",
        "corrupt": f"{start}{third} {middle} {second} took{draw(st.sampled_from([odd, odd, odd, '']))}",
        "answer": draw(st.sampled_from([first, f" {first}", [first, first], [first, "the"], "<mask>", "unheard"])),
        "foil": draw(st.sampled_from([third, third, [third, "to"], first])),
    }
    if draw(st.booleans()):
        row["template"] = draw(st.sampled_from(["one", "two", "three"]))
    if draw(st.booleans()):
        row["roles"] = [["subject", len(start), len(start) + len(first)]]
    return row


@st.composite
def id_rows(draw: st.DrawFn) -> dict[str, Any]:
    token = st.integers(len(SPECIAL), SIZE - 1) | st.sampled_from([MASK, SIZE, SIZE + 5, 4, 5])
    length = draw(st.integers(1, 5))
    clean = draw(st.lists(token, min_size=length, max_size=length))
    corrupt = [*clean[:-1], draw(token)] if draw(st.booleans()) else draw(st.lists(token, min_size=1, max_size=5))
    row = {"clean_ids": clean, "corrupt_ids": corrupt, "answer_ids": draw(token), "foil_ids": [draw(token)]}
    return {**row, **({"template": draw(st.sampled_from(["one", "two"]))} if draw(st.booleans()) else {})}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    ids = draw(st.sampled_from([False, False, True]))
    rows = draw(st.lists(id_rows() if ids else text_rows(), max_size=14))
    again = draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else []
    order = draw(st.permutations([*rows, *again]))
    return Case(
        rows=tuple(order),
        ids=ids,
        begun=draw(st.booleans()),
        diffusion=draw(st.booleans()),
        correct=draw(st.sampled_from(["none", "none", "any", "both", "before"])),
        by=draw(st.sampled_from([None, "metric", "argmax"])),
        examples=draw(st.none() | st.integers(1, 12)),
        declared=draw(st.sampled_from([None, None, True, False])),
    )


def spec_of(case: Case) -> dict[str, Any]:
    read = {"tokenizer": str(home() / case.tokenizer)}
    if case.declared is not None:
        read["add_bos_token"] = case.declared  # type: ignore[assignment]
    after: dict[str, Any] = {"source": str(home() / "after"), "paradigm": "autoregressive", **read}
    if case.diffusion:
        after |= {"paradigm": "masked_diffusion", "mask_token": MASK}
    task: dict[str, Any] = {"name": "mine", "regime": "local", "dataset": "mine.jsonl"}
    select = {"correct": case.correct, **({} if case.by is None else {"by": case.by})}
    return {
        "schema": "mechshift/v1",
        "name": "random",
        "models": {
            "before": {"source": str(home() / "before"), "paradigm": "autoregressive", **read},
            "after": after,
        },
        "pairs": [{"name": "pair", "before": "before", "after": "after", "role": "treatment"}],
        "tasks": [task if case.examples is None else {**task, "examples": case.examples}],
        "select": select,
        "interventions": [{"name": "circuit", "kind": "edge_attribution", "method": "eap"}],
        "measures": {"overlap": {"top_k": [4], "permutations": 50}, "depth": {}, "specialization": {}},
        "statistics": {"bootstrap": {"replicates": 200}},
        "hypotheses": [
            {"id": "kept", "measure": "retention", "where": {"task": "mine"}, "test": TESTS["bound"]},
            {"id": "early", "measure": "depth_slope", "where": {"task": "mine"}, "test": TESTS["difference"]},
        ],
        "report": {"interactive": False},
    }


def check(case: Case) -> None:
    """Run a case, and read every prompt that it keeps once more."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in case.rows))
        YAML().dump(spec_of(case), folder / "spec.yaml")
        try:
            finished = run(folder / "spec.yaml", out=folder / "run")
        except MechshiftError as error:
            assert "internal" not in str(error) and "Traceback" not in str(error)
            assert usable(case) == 0, f"{usable(case)} prompts could have been read, but: {error}"
            return
        assert not finished.failures
        assert (folder / "run/report.html").stat().st_size > 10_000
        check_finite(finished.findings.to_json())
        table = pl.read_parquet(folder / "run/tables/examples.parquet")
        for row in table.to_dicts():
            check_row(case, row)
        wanted = usable(case)
        read = wanted if case.examples is None else min(wanted, case.examples)
        assert table["example"].n_unique() == read
        selected = {
            rule: {row["example"] for row in table.to_dicts() if row["side"] == rule and row["correct"]}
            for rule in ("before", "after")
        }
        every = set(table["example"].to_list())
        rules = {
            "none": every,
            "any": selected["before"] | selected["after"],
            "both": selected["before"] & selected["after"],
            "before": selected["before"],
        }
        assert set(table.filter(pl.col("selected"))["example"].to_list()) == rules[case.correct]
        n = {finding.n.get("prompt", len(rules[case.correct])) for finding in finished.findings.hypotheses}
        assert n <= {len(rules[case.correct]), 0}


def check_finite(text: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} among the findings")

    json.loads(text, parse_constant=refuse)


def usable(case: Case) -> int:
    """Distinct clean prompts that both models can be asked, by rules written down once more."""
    clean_prompts, pairs = set(), set()
    for row in case.rows:
        read = tokens_of(case, row)
        if read is None:
            continue
        clean, corrupt, answers, foils = tuple(read[0]), tuple(read[1]), frozenset(read[2]), frozenset(read[3])
        if clean not in clean_prompts and (corrupt, clean, foils, answers) not in pairs:
            clean_prompts.add(clean)
            pairs.add((clean, corrupt, answers, foils))
    return len(clean_prompts)


def tokens_of(case: Case, row: dict[str, Any]) -> tuple[list[int], list[int], set[int], set[int]] | None:
    """Tokens of a row as the tokenizer makes them; None where it can't be used."""
    if case.ids:
        given_ids = [row[key] for key in ("answer_ids", "foil_ids")]
        answers, foils = ({ids} if isinstance(ids, int) else {*ids} for ids in given_ids)
        clean, corrupt = row["clean_ids"], row["corrupt_ids"]
    else:
        read = tokenizer(case.tokenizer)
        clean, corrupt = (begin(case, read(row[key])["input_ids"]) for key in ("clean", "corrupt"))
        listed = [row[key] if isinstance(row[key], list) else [row[key]] for key in ("answer", "foil")]
        words = [[word.strip() for word in of_side] for of_side in listed]
        answers, foils = ({read.convert_tokens_to_ids(word) for word in of_side} for of_side in words)
        if 0 in (*clean, *corrupt, *answers, *foils):
            return None
        if case.begins and row["clean"].startswith("<s>") != row["corrupt"].startswith("<s>"):
            return None
    every = [*clean, *corrupt, *answers, *foils]
    if max(every) >= SIZE or (case.diffusion and MASK in every):
        return None
    if len(clean) != len(corrupt) or clean == corrupt or answers & foils:
        return None
    return clean, corrupt, answers, foils


def begin(case: Case, ids: list[int]) -> list[int]:
    """A text's tokens as they are declared to begin: once, and what is written stays."""
    written = ids[1:] if case.begun else ids
    return [1, *written] if case.begins and written[:1] != [1] else written


def check_row(case: Case, row: dict[str, Any]) -> None:
    sources = [tokens_of(case, one) for one in case.rows if shown(case, one) == (row["clean"], row["corrupt"])]
    expected = []
    for source in sources:
        if source is not None:
            clean, corrupt, answers, foils = source
            metrics = [metric(case, row["side"], ids, answers, foils) for ids in (clean, corrupt)]
            expected.append((metrics[0][0], metrics[1][0], metrics[0][1] in answers))
    assert any(
        row["clean_metric"] == pytest.approx(one[0], abs=1e-4)
        and row["corrupt_metric"] == pytest.approx(one[1], abs=1e-4)
        and row["correct_by_argmax"] == one[2]
        for one in expected
    ), (row, expected)
    assert row["correct_by_metric"] == (row["clean_metric"] > 0)


def shown(case: Case, row: dict[str, Any]) -> tuple[str, str]:
    """A row's prompts as tables show them."""
    if case.ids:
        clean, corrupt = (" ".join(map(str, row[key])) for key in ("clean_ids", "corrupt_ids"))
        return clean, corrupt
    return row["clean"].rstrip(" "), row["corrupt"].rstrip(" ")


def metric(case: Case, side: str, ids: list[int], answers: set[int], foils: set[int]) -> tuple[float, int]:
    """Logit difference and most likely token, straight from Transformers."""
    diffusion = case.diffusion and side == "after"
    with torch.no_grad():
        read = transformers_model(side, causal=not diffusion)(torch.tensor([[*ids, MASK] if diffusion else ids]))
    logits = read.logits[0, len(ids) - 1]
    return float(logits[sorted(answers)].mean() - logits[sorted(foils)].mean()), int(logits.argmax())


OPTIONS: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.long
@settings(max_examples=4, derandomize=True, **OPTIONS)
@given(case=cases())
def test_any_data_set_is_read_as_transformers_reads_it_or_refused(case: Case) -> None:
    check(case)


@pytest.mark.nightly
@settings(max_examples=30, **OPTIONS)
@given(case=cases())
def test_many_data_sets_are_read_as_transformers_reads_them_or_refused(case: Case) -> None:
    check(case)
