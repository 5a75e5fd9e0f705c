"""A new run: an editor for its spec, checked as one types; and the same as a plain form."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from mechshift_core.errors import MechshiftError
from mechshift_core.run_files import SPEC
from mechshift_core.service.api.shared import By, MissingError, TheService, error_of, existing
from mechshift_core.service.api.specs import Checking, Handed, template, validate
from mechshift_core.service.jobs import SPEC_FILE, Job
from mechshift_core.service.pages.forms import STALE, AnyForm, Form, go_to
from mechshift_core.service.pages.templating import page
from mechshift_core.service.pages.words import duration
from mechshift_core.service.service import Service
from mechshift_core.spec.starters import starters

router = APIRouter(include_in_schema=False)
FIRST = "quickstart"
LONGEST = 2**20
EMPTY_FILES = 1
"""Places for files to be pasted into, where no script reads them."""
Name = Annotated[str, Query(max_length=250)]


@router.get("/new")
def begin(
    request: Request, service: TheService, template_name: Annotated[Name, Query(alias="template")] = "", run: Name = ""
) -> Response:
    """The editor, with a template or the spec of an earlier run."""
    asked = bool(run or template_name)
    left: list[str] = []
    if run:
        files, left = _files_of(service, run)
        handed, origin = Handed(spec=_spec_of(service, run), files=files), f"run {run}"
    else:
        name = template_name or FIRST
        found = template(name)
        files = {file: text for file, text in found.files.items() if not file.endswith((".py", ".yml"))}
        handed, origin = Handed(spec=found.spec, files=files), f"template {name}"
    return _page(request, service, handed, origin=origin, asked=asked, left=left)


@router.post("/new")
def hand_in(request: Request, service: TheService, by: By, form: AnyForm) -> Response:
    """Check a spec or hand it in; whatever comes of it, the text stays on the page."""
    handed = _handed(form)
    if not form.genuine:
        return _page(request, service, handed, refusal=STALE, status=403)
    if len(handed.spec) > LONGEST:
        reason = f"a spec has at most {LONGEST} characters; put data into a file that it names"
        return _page(request, service, handed, refusal=reason, status=413)
    try:
        if form.one("do") in ("check", "full"):
            full = form.one("do") == "full"
            checked = validate(Checking(spec=handed.spec, files=handed.files, full=full), service).model_dump()
            return _page(request, service, handed, problems=checked["problems"], checked=checked)
        key = sha256(f"{form.one('key')} {handed.model_dump_json()}".encode()).hexdigest()
        taken = service.submissions.submit(handed.spec, handed.contents(), by=by, key=key)
    except MechshiftError as error:
        status, body, _ = error_of(error)
        problems = body["error"]["problems"]
        message = "" if problems else body["error"]["message"]
        return _page(request, service, handed, problems=problems, refusal=message, status=status)
    service.keeper.wake()
    return go_to(f"/runs/{taken.name}")


def _handed(form: Form) -> Handed:
    texts = [text.replace("\r\n", "\n") for text in form.all("file_text")]
    names = [name.strip() for name in form.all("file_name")]
    files = {name: text for name, text in zip(names, texts, strict=False) if name or text.strip()}
    return Handed.model_construct(spec=form.text("spec"), files=files)


def _spec_of(service: Service, run: str) -> str:
    """The spec of an earlier run, as it was handed in."""
    job = Job(service.root.job(existing(service, run)))
    path = job.spec if job.exists else service.root.run(run) / SPEC
    if not path.is_file():
        raise MissingError(f"{run} has no spec")
    return path.read_text("utf-8", errors="replace")


def _files_of(service: Service, run: str) -> tuple[dict[str, str], list[str]]:
    """The files that came with an earlier run, and the names of those that no page can hold."""
    job = Job(service.root.job(run))
    found: dict[str, str] = {}
    left: list[str] = []
    for path in sorted(job.inputs.iterdir()) if job.exists else ():
        if path.name == SPEC_FILE:
            continue
        try:
            if path.stat().st_size > LONGEST:
                left.append(path.name)
            else:
                found[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            left.append(path.name)
    return found, left


def _page(
    request: Request,
    service: Service,
    handed: Handed,
    *,
    origin: str = "",
    asked: bool = True,
    left: list[str] | None = None,
    problems: list[dict[str, Any]] | None = None,
    checked: dict[str, Any] | None = None,
    refusal: str = "",
    status: int = 200,
) -> Response:
    seconds = checked["cost"]["seconds"] if checked and checked["cost"] else None
    return page(
        request,
        "new",
        status,
        text=handed.spec,
        files=handed.files,
        origin=origin,
        asked=asked,
        left=left or [],
        problems=problems,
        checked=checked,
        expected=duration(seconds),
        refusal=refusal,
        templates=starters(),
        key=secrets.token_hex(16),
        spare=EMPTY_FILES,
    )
