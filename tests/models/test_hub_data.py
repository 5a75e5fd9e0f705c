"""Data sets of the Hub: from its cache, and from a server on this machine that answers as the Hub does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import huggingface_hub
import pytest
from huggingface_hub import constants
from ruamel.yaml import YAML
from studies import write_study

from mechshift_core import SpecError, load_spec
from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError
from mechshift_core.execution.plan import make_plan
from mechshift_core.models.hub import NotHadError
from mechshift_core.models.hub_data import hub_file
from mechshift_core.spec.placed import UnavailableError

COMMIT, OLDER = "c" * 40, "d" * 40
NAME = "org/pairs/data/pairs.jsonl"
MOST = 2**20


class FakeHub(BaseHTTPRequestHandler):
    """Answers HEAD and GET of `/datasets/ORG/NAME/resolve/REVISION/FILE`."""

    files: ClassVar[dict[str, bytes]] = {}
    refusal: ClassVar[tuple[int, str] | None] = None
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        repository, _, rest = self.path.removeprefix("/datasets/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        commit = {"main": COMMIT, COMMIT: COMMIT, "v1": OLDER, OLDER: OLDER}.get(revision)
        content = self.files.get(f"{commit} {file}")
        if self.refusal is not None:
            self._refuse(*self.refusal)
        elif repository != "org/pairs":
            self._refuse(401, "RepoNotFound")
        elif commit is None:
            self._refuse(404, "RevisionNotFound")
        elif content is None:
            self._refuse(404, "EntryNotFound")
        else:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    """A Hub that can be reached."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(FakeHub, "files", {f"{COMMIT} data/pairs.jsonl": b"new\n", f"{OLDER} data/pairs.jsonl": b"old"})
    monkeypatch.setattr(FakeHub, "refusal", None)
    monkeypatch.setattr(FakeHub, "asked", [])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield FakeHub
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_downloaded_once_and_then_read_without_a_network(
    hub: type[FakeHub], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = hub_file(NAME, revision=None, most=MOST)
    assert (found.path.read_bytes(), found.commit) == (b"new\n", COMMIT) and found.path.is_relative_to(cache)
    assert [line.split()[0] for line in hub.asked] == ["HEAD", "HEAD", "GET"]
    assert hub.asked[-1] == "GET /datasets/org/pairs/resolve/main/data/pairs.jsonl"
    hub_file(NAME, revision=None, most=MOST)
    assert [line.split()[0] for line in hub.asked[3:]] == ["HEAD", "HEAD"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_file(NAME, revision=None, most=MOST) == found
    assert hub_file(NAME, revision=COMMIT, most=MOST) == found
    assert len(hub.asked) == 5
    with pytest.raises(NotHadError, match="HF_HUB_OFFLINE is set"):
        hub_file(NAME, revision="v1", most=MOST)


def test_a_revision_is_a_commit_a_branch_or_a_tag(hub: type[FakeHub], cache: Path) -> None:
    for revision in ("v1", OLDER):
        found = hub_file(NAME, revision=revision, most=MOST)
        assert (found.path.read_bytes(), found.commit) == (b"old", OLDER)
    assert hub_file(NAME, revision=None, most=MOST).commit == COMMIT


def test_a_file_that_is_too_large_is_not_downloaded(hub: type[FakeHub], cache: Path) -> None:
    hub.files[f"{COMMIT} data/pairs.jsonl"] = b"x" * (2 * MOST)
    with pytest.raises(ExecutionError, match=r"hf:org/pairs/data/pairs.jsonl has 2 MiB; at most 1 MiB are read"):
        hub_file(NAME, revision=None, most=MOST)
    assert not [line for line in hub.asked if line.startswith("GET")]


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("org/pairs/pears.jsonl", None, r"hf:org/pairs/pears.jsonl: the data set org/pairs has no file 'pears.jsonl'"),
        (NAME, "v9", r"hf:org/pairs/data/pairs.jsonl \(revision v9\) cannot be fetched .*: there is no such revision"),
        ("org/gone/x.csv", None, "there is no such data set, or it is private and HF_TOKEN does not open it"),
        ("org/pairs", None, "hf:org/pairs names no file of a data set on the Hub; expected hf:ORG/NAME/FILE"),
        ("o rg/pairs/x.csv", None, "expected hf:ORG/NAME/FILE"),
    ],
)
def test_what_there_is_not_is_an_error_that_says_so(
    hub: type[FakeHub], cache: Path, name: str, revision: str | None, message: str
) -> None:
    with pytest.raises(ExecutionError, match=message) as caught:
        hub_file(name, revision=revision, most=MOST)
    assert not isinstance(caught.value, NotHadError)


def test_a_gated_data_set_is_an_error_that_says_what_to_do(hub: type[FakeHub], cache: Path) -> None:
    hub.refusal = (403, "GatedRepo")
    with pytest.raises(NotHadError, match=r"it is gated: accept its terms on the Hub and log in") as caught:
        hub_file(NAME, revision="v1", most=MOST)
    assert "`hf download org/pairs data/pairs.jsonl --repo-type dataset --revision v1`" in str(caught.value)


def test_a_hub_that_does_not_answer_is_an_error_with_the_reason(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("Name or service not known.\nand much more")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(NotHadError) as caught:
        hub_file(NAME, revision=None, most=MOST)
    message = str(caught.value)
    assert message.startswith(f"hf:{NAME} is not in the local cache ({cache}) and cannot be fetched from the Hub: Name")
    assert "service not known; download it where the Hub can be reached (`hf download org/pairs data" in message


def of_hub(folder: Path, **changed: object) -> Path:
    path = write_study(folder)
    content = YAML().load(path.read_text())
    content["tasks"][0] |= {"dataset": f"hf:{NAME}", **changed}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


def test_a_study_reads_it_and_keeps_where_it_is_from(
    hub: type[FakeHub], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    local = make_plan(load_spec(write_study(tmp_path)))
    content = (tmp_path / "pairs.jsonl").read_bytes()
    hub.files[f"{OLDER} data/pairs.jsonl"] = content
    path, out = of_hub(tmp_path, revision="v1"), tmp_path / "out"
    assert main(["validate", str(path)]) == 0 and "mine: 12 of 12 aligned" in capsys.readouterr().out
    plan = make_plan(load_spec(path))
    assert [cell.key for cell in plan.cells] == [cell.key for cell in local.cells]  # the content counts, not the place
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main(["run", str(path), "--out", str(out)]) == 0
    stored = json.loads((out / "provenance.json").read_text())["data"]["mine"]
    expected = {"source": f"hf:{NAME}", "file_sha256": hashlib.sha256(content).hexdigest(), "revision": OLDER}
    assert {name: stored[name] for name in expected} == expected
    assert main(["analyze", str(out)]) == 0


def test_what_is_wrong_is_said_at_its_line(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = of_hub(tmp_path)
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if f"hf:{NAME}" in text)
    assert main(["validate", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{path}:{line}:") and "HF_HUB_OFFLINE is set" in said and "not checked: the prompts" in said
    with pytest.raises(UnavailableError):
        make_plan(load_spec(path))
    assert main(["validate", "--no-files", str(path)]) == 0  # looks up nothing


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dataset": "hf:org/pairs"}, "expected hf:ORG/NAME/FILE, e.g. hf:ORG/NAME/data/pairs.jsonl, got 'hf:org/pai"),
        ({"dataset": "hf:org/pairs/"}, "expected hf:ORG/NAME/FILE"),
        ({"dataset": "hf:org/pairs/../x.csv"}, "expected hf:ORG/NAME/FILE"),
        ({"dataset": "hf:org/pairs/a//x.csv"}, "expected hf:ORG/NAME/FILE"),
        ({"dataset": "hf:org/pairs/train.parquet"}, "expected a file of JSON Lines or CSV .*, got 'train.parquet'"),
        ({"dataset": "pairs.jsonl", "revision": "v1"}, r"only a data set of the Hub \(hf:\) has a revision"),
    ],
)
def test_a_file_that_can_be_no_data_set_is_refused(
    cache: Path, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_spec(of_hub(tmp_path, **changed))
