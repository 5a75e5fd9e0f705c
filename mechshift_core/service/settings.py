"""What the administrator of a server allows: `server.yaml` in its own folder. All of it has a default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mechshift_core.service.root import Root

Positive = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Configuration of a server; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_once: Annotated[int, Field(ge=1, le=256)] = 1
    """Runs that are executed at the same time."""
    profile: str | None = None
    """Profile that says how to run them: its name, or its file. In as many processes as the spec says unless given."""
    most_workers: Annotated[int, Field(ge=1, le=1024)] = 8
    """Processes that a spec may ask for; a profile is not bound by it."""
    cells: str | None = None
    """Store of cells that the runs share, or `none`; that of the account unless given."""
    sources: tuple[Literal["bundled", "hf", "gguf", "local"], ...] = ("bundled", "hf")
    """Where models may come from. `gguf` and `local` only reach `folders`."""
    folders: tuple[str, ...] = ()
    """Folders whose models and data sets specs may name by absolute path, with all that is in them."""
    hosts: tuple[str, ...] = ()
    """Names by which the server may be addressed, beside that of the address it listens on: that of a proxy, say."""
    secure_cookies: bool = False
    """Whether browsers may send the cookie of the login over HTTPS alone: say so where a proxy speaks it for the
    server."""
    most_queued: Positive = 1000
    """Runs that may wait or run; of more, the next is refused."""
    most_queued_each: Positive = 100
    """The same of one token."""
    most_bytes: Positive = 64 * 2**20
    """Largest submission, spec and files together."""
    most_files: Positive = 32
    """Files that may come with a spec."""
    requests_per_minute: Positive = 1200
    """Of one token, or of one address where no token is asked for."""
    check_seconds: Annotated[float, Field(gt=0)] = 120
    """Longest time that checking a spec with its models and data may take."""
    checks_at_once: Positive = 2
    """Specs that are checked at the same time."""
    free_bytes: Annotated[int, Field(ge=0)] = 256 * 2**20
    """Space on the disk below which nothing is taken on."""
    refresh_seconds: Annotated[float, Field(gt=0)] = 30
    """How often run directories that somebody else puts into the root are looked for."""


def read_settings(root: Root) -> Settings:
    """The configuration of a server.

    Raises:
        SpecError: if the file is wrong, with line and column.
    """
    if not root.settings.is_file():
        return Settings()
    from mechshift_core.spec.load import load_model_file

    return load_model_file(root.settings, Settings)


def folders_of(settings: Settings) -> tuple[Path, ...]:
    """The folders that specs may name, resolved."""
    return tuple(Path(folder).expanduser().resolve() for folder in settings.folders)
