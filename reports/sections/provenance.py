"""Section 9, second half: where the numbers come from, the spec, and the tables to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports import formats, tables
from reports.data import ReportData
from reports.sections.base import Section
from reports.templating import render_template

Tree = str | list[tuple[str, "Tree"]]
"""A value as text, or named values."""


def section(data: ReportData) -> Section:
    """Provenance as a nested list, the spec verbatim, and each table as a link."""
    found = data.findings.to_json().encode("utf-8", "replace")
    findings_file, _, findings_href = tables.packed("findings.json", found, "application/json;charset=utf-8")
    body = render_template(
        "provenance",
        notes=[*refused(data), *notes(data.provenance)],
        tree=tree(data.provenance),
        spec=data.spec_text,
        spec_href=tables.data_address(data.spec_text.encode("utf-8", "replace"), "text/plain;charset=utf-8"),
        findings_file=findings_file,
        findings_href=findings_href,
        downloads=tables.downloads(data.tables),
        digits=tables.DIGITS,
    )
    return Section(id="provenance", title="Provenance and data", body=body)


def notes(provenance: Mapping[str, object]) -> list[str]:
    """What a reader should know of the models and of how the run went: origin and format of weights, batch sizes."""
    execution, batching = (_mapping(provenance.get(name)) for name in ("execution", "batching"))
    found = [*varied(provenance), *origins(provenance)]
    if execution.get("weights_dtype"):
        found.append(f"The models ran with weights in {_written(execution['weights_dtype'])}.")
    if batching.get("sizes"):
        found.append(f"Examples in a batch: {_written(batching['sizes'])}.")
    failed = batching.get("out_of_memory")
    for one in failed if isinstance(failed, Sequence) and not isinstance(failed, str) else ():
        if (facts := _mapping(one)).get("sizes"):
            where = f"{facts.get('model')} on {facts.get('task')}, from example {facts.get('examples')}"
            sizes = f"batches of {_written(facts['sizes'])} did not fit into memory and were halved"
            found.append(f"{where}: {sizes}.")
    return found


def origins(provenance: Mapping[str, object]) -> list[str]:
    """Which models are not those that were published, and why: a sentence for each origin of weights."""
    of: dict[str, list[str]] = {}
    for name, model in _mapping(provenance.get("models")).items():
        if origin := _mapping(model).get("origin"):
            of.setdefault(_leaf(origin), []).append(name)
    return [
        f"{formats.listed(names)}: {origin}; these are not the numbers of the published model."
        for origin, names in of.items()
    ]


def refused(data: ReportData) -> list[str]:
    """That this version would not run the spec again, and why; empty where it would."""
    if not data.refused:
        return []
    reasons = "; ".join(data.refused)
    return [
        f"Another version made this run. This one would refuse its spec, and leaves out what it can't show: {reasons}."
    ]


def varied(provenance: Mapping[str, object]) -> list[str]:
    """How the run is a variation of its study: limited to some prompts, or with other values; a sentence each."""
    overrides = dict(_mapping(provenance.get("overrides")))
    found, limit = [], overrides.pop("limit", None)
    if limit is not None:
        found.append(f"This run was limited to at most {limit} prompts of each task.")
    if overrides:
        values = formats.listed([f"{key} = {_leaf(value)}" for key, value in overrides.items()])
        found.append(f"Values of the spec were overridden: {values}.")
    return found


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _written(value: object) -> str:
    """Texts and numbers in a sentence; named ones with their names."""
    if isinstance(value, Mapping):
        return formats.listed([f"{_leaf(item)} ({name})" for name, item in value.items()])
    if isinstance(value, Sequence) and not isinstance(value, str):
        return formats.listed([_leaf(item) for item in value])
    return _leaf(value)


def tree(value: object) -> Tree:
    """JSON-like content as nested names and texts, in the order given."""
    if isinstance(value, Mapping):
        return [(str(key), tree(item)) for key, item in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if all(not isinstance(item, Mapping | list | tuple) for item in value):
            return ", ".join(_leaf(item) for item in value) or "none"
        return [(str(index), tree(item)) for index, item in enumerate(value)]
    return _leaf(value)


def _leaf(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
