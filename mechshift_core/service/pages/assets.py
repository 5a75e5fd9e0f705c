"""Stylesheet, scripts and icon: served under an address that changes with what is in them, so that they can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from mechshift_core.service.api.shared import MissingError
from reports import templating

router = APIRouter(include_in_schema=False)
KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Assets:
    """All of them.

    Attributes:
        contents: Name -> bytes.
        version: Of all of them together: scripts name each other by relative addresses.
    """

    contents: dict[str, bytes]
    version: str


@cache
def assets() -> Assets:
    """What is in the package; colours are those of the report."""
    folder = files("mechshift_core.service.pages") / "assets"
    contents = {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in KINDS}
    colours = templating.source("style.css").partition("/* Text */")[0]
    contents["style.css"] = colours.encode() + contents["style.css"]
    digest = sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    return Assets(contents, digest.hexdigest()[:16])


def address(name: str) -> str:
    """Where one of them is.

    Raises:
        KeyError: if there is none of that name.
    """
    found = assets()
    found.contents[name]
    return f"/assets/{found.version}/{name}"


@router.get("/assets/{version}/{name}")
def asset(version: str, name: str, request: Request) -> Response:
    """One of them; an address of another version is answered with what there is now, to be asked for again."""
    found = assets()
    if name not in found.contents:
        raise MissingError(f"no asset {name!r}")
    tag = f'"{found.version}"'
    headers = {"ETag": tag, "Cache-Control": FOREVER if version == found.version else "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.contents[name], media_type=KINDS[name.rpartition(".")[2]], headers=headers)
