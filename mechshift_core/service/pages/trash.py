"""The trash: what is in it, back, and away for good."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from mechshift_core.service.api.runs import put_back, remove_for_good
from mechshift_core.service.api.shared import TheService
from mechshift_core.service.deleting import trashed
from mechshift_core.service.pages.forms import GenuineForm, go_to
from mechshift_core.service.pages.templating import page
from mechshift_core.times import utc_text

router = APIRouter(include_in_schema=False)


@router.get("/trash")
def trash(request: Request, service: TheService, deleted: Annotated[str, Query(max_length=300)] = "") -> Response:
    """What is in the trash; `deleted` is what was just put there."""
    found = [{"id": one.id, "run": one.run, "at": utc_text(one.at)} for one in trashed(service.index)]
    just = next((one for one in found if one["id"] == deleted), None)
    return page(request, "trash", found=found, just=just)


@router.post("/trash/{id}/restore")
def restore(id: str, service: TheService, form: GenuineForm) -> Response:
    """Move a run back."""
    return go_to(f"/runs/{put_back(id, service).name}")


@router.post("/trash/{id}/erase")
def erase(id: str, service: TheService, form: GenuineForm) -> Response:
    """Remove a run for good."""
    remove_for_good(id, service)
    return go_to("/trash")
