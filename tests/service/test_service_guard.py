"""Who is let in, and with how much: tokens, sizes, rates, and what a spec may reach."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import HERE, STUB, Server, message, serving, study, wait_for

from mechshift_core.cli.main import main
from mechshift_core.service.guard import Rates
from mechshift_core.service.settings import Settings
from mechshift_core.service.submissions import read_allowed, write_inputs
from mechshift_core.spec import SpecError

SETTINGS = """\
requests_per_minute: 60
most_bytes: 20000
most_files: 2
most_queued_each: 2
hosts: [runs.example.org]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


def token_of(root: Path, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["tokens", "create", name, "--root", str(root), "--json"]) == 0
    return str(json.loads(capsys.readouterr().out)["token"])


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with serving(root, settings=SETTINGS) as found:
        yield found


def asked(server: Server, token: str, method: str = "GET", path: str = "/runs", **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", **more.pop("headers", {})}
    return server.http.request(method, path, headers=headers, **more)


@pytest.mark.long
def test_tokens_are_made_listed_and_revoked_while_the_server_runs(
    server: Server, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.http.get("/runs").status_code == 200
    first, second = token_of(root, "ada", capsys), token_of(root, "ben", capsys)
    assert first.startswith("mst_") and first not in (root / ".mechshift" / "tokens.json").read_text()
    assert (root / ".mechshift" / "tokens.json").stat().st_mode & 0o77 == 0
    refused = server.http.get("/runs")
    assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Bearer")
    assert asked(server, first).status_code == asked(server, second).status_code == 200
    assert server.http.get("/runs", headers={"cookie": f"mechshift_token={first}"}).status_code == 200
    for wrong in (first[:-1], first.upper(), "mst_", "x" * 5000):
        assert asked(server, wrong).status_code == 401
    assert server.http.get("/runs", headers={"authorization": f"Basic {first}"}).status_code == 401
    for path in ("/health", "/ready"):
        assert server.http.get(f"{server.address}{path}").status_code == 200
    assert server.http.get(f"{server.address}/metrics").status_code == 401
    assert main(["tokens", "list", "--root", str(root)]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["ada", "ben"]
    assert main(["tokens", "create", "ada", "--root", str(root)]) == 2
    assert main(["tokens", "revoke", "ada", "--root", str(root)]) == 0
    assert asked(server, first).status_code == 401 and asked(server, second).status_code == 200
    assert main(["tokens", "revoke", "ada", "--root", str(root)]) == 2
    assert main(["tokens", "revoke", "ben", "--root", str(root)]) == 0
    assert server.http.get("/runs").status_code == asked(server, second).status_code == 401
    (root / ".mechshift" / "tokens.json").unlink()
    assert server.http.get("/runs").status_code == 401, "a file that is gone lets nobody in"


@pytest.mark.long
def test_who_is_revoked_watches_no_more(server: Server, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = token_of(root, "eve", capsys)
    name = asked(server, token, "POST", json={"spec": study("sleep=60")}).json()["name"]
    with server.http.stream("GET", f"/runs/{name}/events", headers={"authorization": f"Bearer {token}"}) as response:
        lines = response.iter_lines()
        assert next(lines).startswith(("event", "id"))
        assert main(["tokens", "revoke", "eve", "--root", str(root)]) == 0
        assert "event: end" not in [*lines]


def test_whose_a_run_is_stands_beside_it_and_keys_are_each_ones_own(
    server: Server, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for who in ("cara", "dan"):
        token = token_of(root, who, capsys)
        body, headers = {"spec": study()}, {"idempotency-key": "same"}
        answer = asked(server, token, "POST", json=body, headers=headers).json()
        assert answer["submitted_by"] == who
        names.append(answer["name"])
        (found,) = asked(server, token, path="/runs", params={"by": who}).json()["runs"]
        assert found["name"] == answer["name"]
    assert names[0] != names[1]


def test_queues_sizes_files_and_rates_have_an_end(
    server: Server, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = token_of(root, "fay", capsys)
    large = asked(server, token, "POST", json={"spec": study() + "#" * 20_000})
    assert large.status_code == 400 and "takes at most 20000" in message(large)
    huge = asked(server, token, "POST", content=b"x" * 200_000)
    assert huge.status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(200):
            yield b"[" * 1000

    assert asked(server, token, "POST", content=parts()).status_code == 413
    files = {f"a{number}.jsonl": "x" for number in range(3)}
    assert "3 files" in message(asked(server, token, "POST", json={"spec": study(), "files": files}))
    for _ in range(2):
        assert asked(server, token, "POST", json={"spec": study("sleep=60")}).status_code == 202
    full = asked(server, token, "POST", json={"spec": study()})
    assert full.status_code == 503 and "2 runs of yours" in message(full) and full.headers["retry-after"] == "60"
    statuses = [asked(server, token).status_code for _ in range(70)]
    assert statuses[0] == 200 and statuses[-1] == 429
    assert asked(server, token).headers["retry-after"] == "5"
    assert asked(server, token_of(root, "gil", capsys)).status_code == 200


def test_a_host_that_the_administrator_names_is_one(server: Server) -> None:
    assert server.http.get(f"{server.address}/health", headers={"host": "Runs.Example.org"}).status_code == 200
    assert server.http.get(f"{server.address}/health", headers={"host": "other.example.org"}).status_code == 421


ODD = ("localhost.", "evil@localhost", "localhost/x", "[::1", "127.0.0.1#x", "", "localhost:x", "0x7f.1")
"""Hosts that are none of a server's."""


@pytest.mark.parametrize("host", ODD)
def test_a_host_is_a_name_and_a_port(server: Server, host: str) -> None:
    assert httpx.get(f"{server.address}/health", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "origin", ["http://[", "null", "", "http://", "//localhost", "http://evil", "http://u@localhost"]
)
def test_an_origin_that_is_none_of_the_servers_is_refused(server: Server, origin: str) -> None:
    answer = httpx.post(f"{server.address}/api/v1/runs", headers={"origin": origin}, content=b"{}")
    assert answer.status_code == 403 and "another site" in message(answer)


HALF = b'{"spec": "x", "files": {"x": "\\ud800"}}'


def test_who_shows_no_token_sends_little(server: Server, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token_of(root, "hal", capsys)
    for body in (b"x" * 100_000, iter([b"x" * 100_000])):
        answer = httpx.post(f"{server.address}/login", content=body)
        assert answer.status_code == 413, answer.text


def test_one_client_does_not_take_all_places() -> None:
    from mechshift_core.service.places import CHANGING, Places

    async def crowd() -> int:
        places, most, now = Places(), 0, 0

        async def ask() -> None:
            nonlocal most, now
            async with places.one("a", changing=True):
                now += 1
                most = max(most, now)
                async with asyncio.timeout(1), places.one("b", changing=True), places.one("a", changing=False):
                    await asyncio.sleep(0)
                now -= 1

        await asyncio.gather(*(ask() for _ in range(5 * CHANGING)))
        assert not places._free and not places._wanted
        return most

    assert asyncio.run(crowd()) == CHANGING


@pytest.mark.long
def test_a_request_of_many_wrong_values_is_refused_in_few_words(tmp_path: Path) -> None:
    files = {f"a{number}": number for number in range(200_000)}
    with serving(tmp_path) as found:
        run = found.submit()
        for path, body in (
            ("/runs", {"spec": "x", "files": files}),
            (f"/runs/{run}/check", {"baseline": {}, "must_hold": [*range(200_000)]}),
        ):
            answer = found.http.post(path, json=body)
            assert answer.status_code == 422 and "at most 1000 of them" in message(answer)
            assert len(answer.content) < 10_000
        half = found.http.post("/runs", content=HALF, headers={"content-type": "application/json"})
        assert half.status_code == 400 and "half a character" in message(half)


def test_a_rate_recovers_with_time() -> None:
    moment = 0.0
    rates = Rates(60, clock=lambda: moment)
    assert [rates.allows("a") for _ in range(61)] == [True] * 60 + [False]
    moment = 1.0
    assert rates.allows("a") and not rates.allows("a") and rates.allows("b")
    moment = -5.0
    assert not rates.allows("a")


def test_other_machines_reach_no_server_without_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "::"):
        assert main(["serve", "--root", str(tmp_path), "--host", host, "--port", "0"]) == 2
        shown = capsys.readouterr().err
        assert "it asks for no token" in shown and "mechshift tokens create NAME" in shown
    token_of(tmp_path, "ada", capsys)
    assert main(["tokens", "revoke", "ada", "--root", str(tmp_path)]) == 0
    assert main(["serve", "--root", str(tmp_path), "--host", "0.0.0.0", "--port", "0"]) == 2


@pytest.mark.long
def test_a_second_server_on_one_root_refuses(server: Server) -> None:
    call = [*STUB, "serve", "--root", str(server.root), "--port", "0"]
    second = subprocess.run(call, capture_output=True, text=True, env=HERE, timeout=60, check=False)
    assert second.returncode == 3 and "another server serves this folder" in second.stderr
    assert main(["index", "--root", str(server.root)]) == 3


def test_a_damaged_file_of_tokens_lets_nobody_in(server: Server, root: Path) -> None:
    path = root / ".mechshift" / "tokens.json"
    before = path.read_text() if path.exists() else None
    for text in ("{", "[]", '{"tokens": [{"name": 1}]}', '{"tokens": 5}'):
        path.write_text(text)
        assert server.http.get("/runs").status_code in (401, 503), text
    if before is not None:
        path.write_text(before)
    wait_for(lambda: server.http.get("/runs").status_code == 401)


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """A folder of the server with a data set, a folder beside it, and links between them."""
    for name in ("open", "open/model", "closed", "open-too"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pairs.jsonl").write_text("{}")
    (tmp_path / "open" / "link").symlink_to(tmp_path / "closed")
    (tmp_path / "open" / "link.jsonl").symlink_to(tmp_path / "closed" / "pairs.jsonl")
    return tmp_path


DATA = {
    "FOLDER/open/pairs.jsonl": "", "pairs.jsonl": "", "./pairs.jsonl": "", "sub/../pairs.jsonl": "",
    "FOLDER/closed/pairs.jsonl": "outside", "FOLDER/open/../closed/pairs.jsonl": "outside",
    "FOLDER/open/link/pairs.jsonl": "outside", "FOLDER/open/link.jsonl": "outside",
    "FOLDER/open-too/pairs.jsonl": "outside",
    "../job.json": "outside", "../../../tokens.json": "outside", "/etc/passwd": "outside", "~/x.jsonl": "home folder",
    "~root/x.jsonl": "home folder", "none.jsonl": "did not come along", "/proc/self/environ": "outside",
}  # fmt: skip
"""What a data set is called -> why it is refused; empty where it is not."""


def refused(folder: Path, settings: Settings, spec: str) -> str:
    """Why a spec is refused; empty where it is not."""
    inputs = folder / "inputs"
    write_inputs(inputs, spec, {"pairs.jsonl": b"{}"})
    try:
        read_allowed(inputs, settings)
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("data", DATA)
def test_a_data_set_is_one_that_came_along_or_lies_in_an_open_folder(allowed: Path, data: str) -> None:
    spec = study().replace("{name: ioi, examples: 20}", "{name: ioi, regime: local, dataset: DATA}")
    spec = spec.replace("DATA", json.dumps(data.replace("FOLDER", str(allowed))))
    found = refused(allowed, Settings(folders=(str(allowed / "open"),)), spec)
    assert (DATA[data] in found) if DATA[data] else found == ""
    assert found == "" or (found.startswith("spec.yaml:10:") and str(allowed / "inputs") not in found)


@pytest.mark.parametrize(
    ("model", "settings", "reason"),
    [
        ("source: /etc", {}, "takes no 'local' models"),
        ("source: 'gguf:/x.gguf'", {}, "takes no 'gguf' models"),
        ("source: 'gguf:/x.gguf'", {"sources": ("gguf", "bundled")}, "outside"),
        ("source: 'gguf:~/x.gguf'", {"sources": ("gguf", "bundled")}, "home folder"),
        ("source: /etc", {"sources": ("local", "bundled")}, "outside"),
        ("source: .", {"sources": ("local", "bundled")}, ""),
        ("source: 'hf:a/b'", {"sources": ("bundled",)}, "takes no 'hf' models"),
        ("source: 'hf:a/b'", {}, ""),
        ("source: 'bundled:tiny-s0/arm', adapter: /etc", {}, "outside"),
        ("source: 'bundled:tiny-s0/arm', adapter: 'hf:a/b'", {"sources": ("bundled",)}, "nothing from the Hub"),
        ("source: 'bundled:tiny-s0/arm', tokenizer: /etc", {}, "outside"),
        ("source: 'bundled:tiny-s0/arm', tokenizer: '../x'", {}, "outside"),
    ],
)
def test_a_model_is_of_a_source_that_is_allowed(
    allowed: Path, model: str, settings: dict[str, Any], reason: str
) -> None:
    spec = study().replace('source: "bundled:tiny-s0/arm"', model)
    found = refused(allowed, Settings(**settings), spec)
    assert (reason in found) if reason else found == ""


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("overrides: {extensions: [/etc/passwd]}", "a server runs no code"),
        ("overrides: {execution.workers: 100}", "at most 8 processes"),
        ("overrides: {models.arm.source: /etc}", "outside"),
        ("matrix: {a: [/etc]}\noverrides: {models.arm.source: '${{ a }}'}", "only entries of models"),
    ],
)
def test_overrides_and_a_matrix_bring_in_nothing_that_is_not_allowed(allowed: Path, more: str, reason: str) -> None:
    settings = Settings(sources=("local", "bundled"))
    assert reason in refused(allowed, settings, f"{study()}{more}\n")


def test_a_spec_brings_no_code_and_asks_for_no_crowd(allowed: Path) -> None:
    code = study() + "extensions: [/etc/passwd, ./x.py]\n"
    assert "spec.yaml:15:1: a server runs no code" in refused(allowed, Settings(), code)
    assert "at most 8 processes" in refused(allowed / "open", Settings(), study() + "execution: {workers: 100}\n")
    assert refused(allowed / "closed", Settings(most_workers=100), study() + "execution: {workers: 100}\n") == ""
