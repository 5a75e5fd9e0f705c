"""Wordings for the tasks that are no stories: Countdown, Sudoku and path-star graphs."""

from __future__ import annotations

from mechshift_core.tasks.banks import NATURAL, Bank

COUNTDOWN = Bank(
    NATURAL,
    {
        "list": "Numbers: {a}, {b}, {c}. Target: {target}. Solution{colon}",
        "use": "Use {a}, {b} and {c}, each once, to make {target}{colon}",
        "question": "Q: How can you get {target} from {a}, {b} and {c}? A{colon}",
        "game": "Three cards show {a}, {b} and {c}. The goal is {target}. Answer{colon}",
        "combine": "Combine the numbers {a}, {b} and {c} with +, - or *. The result must be {target}, so write{colon}",
        "equation": "With each of {a}, {b} and {c} used once, we can write {target}{equals}",
    },
)
"""`a`, `b` and `c` are the numbers; a wording ends with `colon` or `equals`, and the solution follows."""

SUDOKU = Bank(
    NATURAL,
    {
        "slashes": "Sudoku: {row} / {row} / {row} / {row} Solution:",
        "bars": "Complete the grid, row by row: {row} | {row} | {row} | {row} The complete grid:",
        "rules": "Fill in the blanks so that each row, column and box has each digit once: "
        "{row} ; {row} ; {row} ; {row} Filled in:",
        "commas": "The puzzle {row} , {row} , {row} , {row} becomes",
        "dashes": "Here are the rows of a sudoku: {row} - {row} - {row} - {row} And here they are without blanks:",
        "plain": "Grid: {row} {row} {row} {row} Full grid:",
    },
)
"""What stands between two rows of the puzzle stands between those of the solution, too."""

PATH_STAR = Bank(
    NATURAL,
    {
        "bars": "Edges: {a} {b} | {a} {b} / {start} {goal} = {start}",
        "arrows": "Graph: {a} -> {b}, {a} -> {b}. Path from {start} to {goal}: {start}",
        "roads": "Roads lead from {a} to {b}, from {a} to {b}. The way from {start} to {goal} is {start}",
        "trains": "Trains run from {a} to {b}, from {a} to {b}. To get from {start} to {goal}, take the stops {start}",
        "tree": "In this tree, {a} is above {b}, {a} is above {b}. The way down from {start} to {goal} is {start}",
        "pipes": "Water flows from {a} into {b}, from {a} into {b}. From {start} it gets to {goal} by way of {start}",
        "calls": "Friends talk: {a} calls {b}, {a} calls {b}. News from {start} gets to {goal} by way of {start}",
    },
    {"nodes": tuple("BCDEFGHJKLMNOPQRSTUVWXYZ")},
)
"""Two edges show how edges are written, and what stands between them."""
