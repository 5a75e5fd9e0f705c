"""Profiles: how to run, which is no part of what is asked. A file `NAME.yaml` each, for a laptop or a cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mechshift_core.errors import UsageError

if TYPE_CHECKING:
    from mechshift_core.spec.schema import Spec

VARIABLE = "MECHSHIFT_PROFILE"
NEEDED = "pip install distributed dask-jobqueue cryptography"
Manager = Literal["slurm", "pbs", "lsf", "sge", "htcondor", "oar"]
Option = str | int | float | bool | list[str]


class Strict(BaseModel):
    """A section of a profile; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(Strict):
    """Certificates of a Dask cluster whose traffic is encrypted, as files."""

    ca: str
    """Certificate of who signed those of scheduler and workers."""
    certificate: str
    """Our own."""
    key: str
    """Its private key."""


class Profile(Strict):
    """Where cells are computed: in this process, in others of this machine, or on a cluster."""

    workers: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processes: of this machine, or jobs of the cluster's manager. Each has a model of its own in memory."""
    scheduler: str | None = None
    """Address of a Dask scheduler that is running, with the workers that it has: tls://HOST:PORT."""
    tls: Tls | None = None
    """What is needed to speak with it."""
    insecure: bool = False
    """Whether tcp:// may be used with other machines: whoever reaches the port can then run code as you (on this
    machine, where it may be used anyway, whoever has an account)."""
    cluster: Manager | None = None
    """Manager of a cluster, whose jobs the workers are."""
    options: dict[str, Option] = {}
    """Options of its class in dask-jobqueue, e.g. `queue`, `cores`, `memory`, `walltime`, `job_extra_directives`."""
    lifetime: str | None = None
    """When a worker of a job ends by itself, so that another takes its place before the manager kills it: a little less
    than `walltime`, e.g. `50 minutes`."""
    patience: Annotated[float, Field(gt=0)] | None = None
    """Seconds to wait for the first worker before giving up; as long as it takes unless given."""

    @model_validator(mode="after")
    def _one_place(self) -> Profile:
        if self.scheduler is not None and (self.cluster is not None or self.workers is not None):
            other = "cluster" if self.cluster is not None else "workers"
            raise PydanticCustomError(
                "place", "scheduler: a running scheduler has its workers; leave out `{other}`", {"other": other}
            )
        if self.options and self.cluster is None:
            raise PydanticCustomError("place", "options are those of a cluster's manager; give `cluster`, too")
        if self.scheduler is not None and not re.fullmatch(r"(tcp|tls)://\S+:\d+", self.scheduler):
            raise PydanticCustomError("place", "scheduler: expected tls://HOST:PORT or tcp://HOST:PORT")
        return self

    @property
    def alone(self) -> bool:
        """Whether everything is computed in this process."""
        return self.here and self.workers in (None, 1)

    @property
    def here(self) -> bool:
        """Whether everything is computed on this machine."""
        return self.scheduler is None and self.cluster is None


def is_loopback(address: str) -> bool:
    """Whether an address, PROTOCOL://HOST:PORT, is one of this machine's own."""
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def profile_folder() -> Path:
    """Where the profiles are: `mechshift/profiles` in `$XDG_CONFIG_HOME` or in `~/.config`."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".config") / "mechshift" / "profiles"


def load_profile(name: str) -> Profile:
    """A profile by its name, or by the path of its file.

    Raises:
        UsageError: if there is none, or it is wrong, with line and column.
    """
    from mechshift_core.options import listing, suggestion
    from mechshift_core.spec.load import load_model_file

    path = Path(name).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        folder = profile_folder()
        path = folder / f"{name}.yaml"
        if not path.is_file():
            known = sorted(file.stem for file in folder.glob("*.yaml"))
            there = f"there are {listing(known)}" if known else "there are none"
            file = "; the file of a profile ends in .yaml" if Path(name).is_file() else ""
            raise UsageError(f"no profile {name!r}{suggestion(name, known)}: {path} is no file ({there}){file}")
    return load_model_file(path, Profile)


def chosen_profile(
    name: str | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    cluster: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Profile | None:
    """What options and environment say of how to run; None where they say nothing.

    Args:
        name: A profile; `$MECHSHIFT_PROFILE` unless given.
        workers: As of :class:`Profile`, and before what the profile says; so are `scheduler` and `cluster`.
        environment: The environment variables; those of this process unless given.

    Raises:
        UsageError: if they contradict each other, or the profile is not there or wrong.
    """
    from pydantic import ValidationError

    from mechshift_core.wording import choice, words_of

    named = name or (os.environ if environment is None else environment).get(VARIABLE)
    given = {
        key: value
        for key, value in (("workers", workers), ("scheduler", scheduler), ("cluster", cluster))
        if value is not None
    }
    if named is None and not given:
        return None
    base = {} if named is None else load_profile(named).model_dump(exclude_unset=True)
    if "scheduler" in given:
        base = {key: value for key, value in base.items() if key not in ("workers", "cluster", "options", "lifetime")}
    elif given:
        base.pop("scheduler", None)
    if cluster is not None and base.get("cluster") != cluster:
        base.pop("options", None)
    try:
        return Profile.model_validate(base | given)
    except ValidationError as error:
        first = error.errors()[0]
        where = "--" + str(first["loc"][0]) + ": " if first["loc"] else ""
        known = words_of(first) if first["type"] == "literal_error" else []
        raise UsageError(where + (choice(first["input"], known) if known else first["msg"])) from error


def default_profile(spec: Spec) -> Profile:
    """How a spec is run where nothing else is said: in the processes that it names, as far as they can be had."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        return Profile(workers=1)
    return Profile(workers=spec.execution.workers)
