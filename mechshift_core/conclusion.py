"""What a run concludes: tables, findings, provenance and report, made again where what they depend on has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mechshift_core.execution.code_version import whole_code
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.prompts import accounts
from mechshift_core.execution.runner import Execution
from mechshift_core.execution.store import RunFolder, file_digest
from mechshift_core.files import write_text
from mechshift_core.finished_run import Run
from mechshift_core.kinds.extensions import origins
from mechshift_core.progress import Progress
from mechshift_core.run_files import FINDINGS, PROVENANCE, REPORT, STATE

if TYPE_CHECKING:
    from mechshift_core.execution.profiles import Profile
    from stats.findings import Declaration


def conclude(
    plan: Plan,
    folder: RunFolder,
    execution: Execution,
    declaration: Declaration,
    profile: Profile | None,
    progress: Progress | None,
    *,
    force: bool,
) -> Run:
    """Tables, findings, provenance and report, unless they are there and nothing they depend on has changed."""
    from stats.findings import Findings

    failures = {cell.key: reason for cell, reason in execution.failures.items()}
    total = len(plan.every_cell)
    lines = tuple(f"{cell}: {reason}" for cell, reason in execution.failures.items())
    key = _analysis_key(plan, folder, failures, declaration)
    state = folder.path / STATE
    outputs = [folder.path / name for name in (FINDINGS, REPORT, PROVENANCE)]
    unchanged = all(p.is_file() for p in (state, *outputs)) and state.read_bytes() == _analysis_state(folder, key)
    if force or not unchanged:
        from mechshift_core.analysis import analyse
        from mechshift_core.execution.provenance import provenance
        from mechshift_core.reporting import write_report
        from mechshift_core.tables import write_tables

        state.unlink(missing_ok=True)
        analysis = analyse(plan, folder, failures, declaration=declaration, profile=profile, progress=progress)
        lines += analysis.failures
        write_tables(dict(analysis.tables), folder.tables)
        write_text(folder.path / FINDINGS, analysis.findings.to_json())
        unusable = {"too_few": analysis.samples.too_few} if analysis.samples.too_few else {}
        facts = {**provenance(plan, folder, failures), **unusable, "failures": list(lines)}
        folder.write_json(PROVENANCE, facts)
        if progress is not None:
            progress("report", total - len(failures), total)
        undrawn = write_report(plan, folder)
        if undrawn:
            lines += undrawn
            folder.write_json(PROVENANCE, {**facts, "failures": list(lines)})
        # What broke may hold another time: the next run finds another state than it expects, and tries it again.
        write_text(state, _analysis_state(folder, key, lines[len(execution.failures) :]).decode())
        folder.log("analysed", failures=len(failures))
    findings = Findings.from_json((folder.path / FINDINGS).read_text(encoding="utf-8"))
    too_few = json.loads((folder.path / PROVENANCE).read_text(encoding="utf-8")).get("too_few", "")
    return Run(
        folder.path,
        findings,
        execution.computed,
        execution.cached,
        lines,
        analysed=force or not unchanged,
        too_few=too_few,
        prompts=accounts(plan),
        shared=execution.shared,
        notice=execution.notice,
        allowed_code=bool(plan.spec.loaded_extensions),
        overrides=dict(plan.spec.overrides),
    )


def _analysis_state(folder: RunFolder, key: str, broken: Sequence[str] = ()) -> bytes:
    """What stands in the last file written: what findings and tables depend on, their own hashes, and what broke."""
    files = [folder.path / FINDINGS, folder.path / PROVENANCE, *sorted(folder.tables.glob("*.parquet"))]
    content: dict[str, object] = {"key": key, **{path.name: file_digest(path) for path in files}}
    return json.dumps(content | ({"broken": list(broken)} if broken else {}), indent=2).encode()


def _analysis_key(plan: Plan, folder: RunFolder, failures: Mapping[str, str], declaration: Declaration) -> str:
    """Hash of all that findings and report depend on: spec, its history, data, cells, what failed, and the code.

    Which cells came from the store is in it too, since the provenance says so.
    """
    cells = [cell.key for _, cell in plan.every_cell]
    outside = origins()
    shared = [key for key in cells if folder.is_shared(key)]
    content: list[object] = [*([outside] if outside else []), *([shared] if shared else [])]
    content += [plan.spec.text, dict(plan.dataset_keys), cells, dict(failures), asdict(declaration)]
    return hashlib.sha256(json.dumps([whole_code(), *content], sort_keys=True).encode()).hexdigest()
