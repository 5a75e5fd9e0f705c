"""Mutated specs and data sets through their readers: anything may come in, only the declared errors may come out.

Run by hand for many of them:

    python tests/fuzz_specs.py specs --cases 100000
    python tests/fuzz_specs.py data --cases 5000

Every case is drawn from `random.Random(f"{seed}/{case}")`, so that one that is reported can be run again by itself
(`--first CASE --cases 1`).
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechshift_core.errors import ExecutionError
from mechshift_core.spec import Spec, SpecError, load_spec
from mechshift_core.spec.tree import read_document
from mechshift_core.tasks.custom import custom_dataset

GRAMMAR = (Path(__file__).parent / "data" / "full-grammar.yaml").read_text(encoding="utf-8")
GRAMMAR = re.sub(
    r"^ *#.*\n|interactive: true", lambda found: "" if "#" in found[0] else "interactive: false", GRAMMAR, flags=re.M
)
ENTRIES = re.split(r"(?m)^(?=  - |\S)", GRAMMAR)
"""The text in its sections and list entries; a case keeps some of the entries."""
LISTS = ("pairs", "tasks", "interventions", "hypotheses")
TREE: Any = read_document(GRAMMAR).data
SLOWEST = 5.0
"""Seconds of processor time that one file may take."""
TOKENS = (
    *"[ ] { } : - & * << ! ? | > # % @ ` \" ' , \t \n \\ ~ = 0x 1e9 1e999 -1 .inf .nan é \x85 \x00 \u2028".split(" "),
    "!!python/object/apply:os.system [id]", "!!python/name:os.system", "!!binary aGk=", "!!timestamp 2001-01-01",
    "!!set {a}", "&a [*a]", "*a", "<<: *a", "&a ", "%YAML 1.1\n---\n", "---\n", "...\n", "../../etc/passwd", "~/x",
    "\ud800", "\U0001f600", "9" * 40, "{{ 7*7 }}", "${HOME}", "__import__('os')",
)  # fmt: skip
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**40, 0.5, -0.0, 1e308, 1e-320, float("inf"), float("nan"),
    "", " ", "x" * 5000, "..", "../x", "/etc/passwd", "a\x00b", "\ud800", "{{ 7*7 }}", "__import__('os').system('id')",
    "__class__", "ioi", "circuit", "treatment", "local", "random", "gini", "hf:../..", "bundled:../../x", "hf:",
    "shift ~ __import__('os')", "shift ~ depth ** 99999999", "shift ~ " + "(" * 3000, "shift ~ depth" + "*depth" * 500,
    "0 + depth | ", "|", "~", [], {}, [[]], [None], {"": None}, [1] * 300,
)  # fmt: skip
ROW: dict[str, Any] = {"clean": "Mary and John", "corrupt": "Mary and Tom", "answer": "Mary", "foil": ["John", "Tom"]}
IDS: dict[str, Any] = {
    "clean_ids": [4, 5, 6],
    "corrupt_ids": [4, 7, 6],
    "answer_ids": 8,
    "foil_ids": [9],
    "roles": ["a"] * 3,
}


@dataclass(slots=True)
class Outcome:
    """What came of one file: `ok`, `refused`, or what should not have been."""

    kind: str
    seconds: float
    detail: str = ""


def some_entries(draw: random.Random) -> str:
    """The grammar with some of its list entries left out; one in ten has them all."""
    share = draw.choice((0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.5, 0.5, 0.7, 1.0))
    return "".join(entry for entry in ENTRIES if not entry.startswith("  - ") or draw.random() < share)


def mutated_text(draw: random.Random, text: str) -> str:
    """A text with a few edits: cut, doubled, swapped, or with something inserted."""
    for _ in range(draw.choice((1, 1, 1, 2, 4, 12))):
        start = draw.randrange(len(text) + 1)
        stop = min(len(text), start + draw.choice((0, 0, 1, 3, 20, 200)))
        other = draw.randrange(len(text) + 1)
        piece = draw.choice(
            ("", draw.choice(TOKENS), text[start:stop] * 2, text[other : other + 40], chr(draw.randrange(0x2100)))
        )
        text = text[:start] + piece + text[stop:]
    return text


def mutated_tree(draw: random.Random, tree: Any) -> Any:
    """A copy of a tree with a few nodes replaced, removed, moved, doubled, or renamed."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 10))):
        places = list(_places(tree))
        if not places:
            return draw.choice(SCALARS)
        holder, key = draw.choice(places)
        action = draw.randrange(6)
        if action <= 1:
            holder[key] = copy.deepcopy(draw.choice(SCALARS))
        elif action == 2:
            del holder[key]
        elif action == 3:
            source, name = draw.choice(places)
            holder[key] = copy.deepcopy(source[name])
        elif action == 4 and isinstance(holder, list):
            holder.extend(copy.deepcopy([holder[key]] * draw.choice((1, 2, 250))))
        elif action == 5 and isinstance(holder, dict):
            holder[str(draw.choice((*SCALARS[16:40], key[:-1], key.upper())))] = holder.pop(key)
        else:
            holder[key] = [holder[key]]
    return tree


def some_tree(draw: random.Random) -> dict[str, Any]:
    """The same as plain data."""
    share = draw.choice((0.1, 0.2, 0.3, 0.5, 0.7, 1.0))
    sections = TREE.items()
    return {key: [e for e in value if draw.random() < share] if key in LISTS else value for key, value in sections}


def spec_case(draw: random.Random) -> bytes:
    """A damaged spec: its text, or its tree written as JSON, which is YAML too."""
    way = draw.randrange(10)
    if way < 5:
        text = mutated_text(draw, some_entries(draw))
    else:
        tree = mutated_tree(draw, some_tree(draw))
        text = json.dumps(tree, ensure_ascii=draw.random() < 0.5, indent=draw.choice((None, 1)))
        if way == 9:
            text = mutated_text(draw, text)
    return _encoded(draw, text)


def data_case(draw: random.Random) -> bytes:
    """A damaged data set of a few lines."""
    lines = []
    for _ in range(draw.randrange(1, 5)):
        row = draw.choice((ROW, IDS, {**ROW, "roles": [["name", 0, 4]]}))
        text = json.dumps(row if draw.random() < 0.3 else mutated_tree(draw, row), ensure_ascii=draw.random() < 0.5)
        lines.append(mutated_text(draw, text) if draw.random() < 0.4 else text)
    return _encoded(draw, draw.choice(("\n", "\r\n", "\n\n")).join(lines))


def try_spec(content: bytes, folder: Path) -> Outcome:
    """Load one spec."""
    path = folder / "fuzz.yaml"
    path.write_bytes(content)
    start = time.process_time()
    try:
        loaded = load_spec(path, check_files=False)
        kind, detail = ("ok", "") if isinstance(loaded, Spec) else ("broken", f"a {type(loaded).__name__} came back")
    except SpecError as error:
        kind, detail = ("refused", "") if error.problems and str(error) else ("broken", "an error that says nothing")
    except BaseException:
        kind, detail = "broken", traceback.format_exc()
    return _timed(kind, time.process_time() - start, detail)


def try_data(content: bytes, folder: Path, tokenizer: Any) -> Outcome:
    """Load one data set."""
    path = folder / "fuzz.jsonl"
    path.write_bytes(content)
    start = time.process_time()
    try:
        found = custom_dataset("mine", path, tokenizer, examples=3, vocabulary=20)
        kind, detail = ("ok", "") if found.examples else ("broken", "a data set without examples")
    except ExecutionError as error:
        kind, detail = ("refused", "") if str(path) in str(error) else ("broken", f"no file is named: {error}")
    except BaseException:
        kind, detail = "broken", traceback.format_exc()
    return _timed(kind, time.process_time() - start, detail)


def outcomes(
    what: str, cases: int, *, folder: Path, seed: int = 0, first: int = 0
) -> Iterator[tuple[int, bytes, Outcome]]:
    """The cases one after the other with what came of each."""
    tokenizer = None
    if what == "data":
        from mechshift_core.zoo.vocabulary import build_tokenizer

        tokenizer = build_tokenizer()
    for case in range(first, first + cases):
        draw = random.Random(f"{seed}/{case}")
        content = spec_case(draw) if what == "specs" else data_case(draw)
        yield case, content, try_spec(content, folder) if what == "specs" else try_data(content, folder, tokenizer)


def _timed(kind: str, seconds: float, detail: str) -> Outcome:
    if kind in ("ok", "refused") and seconds > SLOWEST:
        return Outcome("broken", seconds, f"{kind}, but after {seconds:.2f} s")
    return Outcome(kind, seconds, detail)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder and key (or index) of a tree."""
    stack = [tree]
    while stack:
        holder = stack.pop()
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            yield holder, key
            if isinstance(value, dict | list):
                stack.append(value)


def _encoded(draw: random.Random, text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    way = draw.randrange(60)
    if way == 0:
        return text.encode("utf-16", "surrogatepass")
    if way == 1:
        place = draw.randrange(len(content) + 1)
        return content[:place] + bytes([draw.randrange(256)]) + content[place:]
    return content[: draw.randrange(len(content) + 1)] if way == 2 else content


def main() -> int:
    """Run the cases, print what is broken and the counts; 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("specs", "data"))
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    slowest, spent, started = 0.0, 0.0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for case, content, outcome in outcomes(
            given.what, given.cases, folder=Path(folder), seed=given.seed, first=given.first
        ):
            counts[outcome.kind] += 1
            slowest, spent = max(slowest, outcome.seconds), spent + outcome.seconds
            if outcome.kind == "broken":
                print(f"case {case}: {outcome.detail}\n{content[:2000]!r}\n", flush=True)
    total = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    elapsed = time.monotonic() - started
    print(f"{given.cases} {given.what}: {total}; slowest {slowest:.2f} s, {spent:.0f} s of processor, {elapsed:.0f} s")
    return 1 if counts["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
