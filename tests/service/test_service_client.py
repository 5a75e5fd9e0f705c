"""The client and its commands, against a real server, and against servers that are none, lie, or go away."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servers import HERE, REAL, SECONDS, Server, serving, study

from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError, MechshiftError, UsageError
from mechshift_core.service.client import Client
from mechshift_core.spec import SpecError
from mechshift_core.spec.starters import starter

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("root"), settings="at_once: 2\n") as found:
        yield found


@pytest.fixture(autouse=True)
def _workplace(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MECHSHIFT_SERVER", server.address)
    monkeypatch.delenv("MECHSHIFT_TOKEN", raising=False)


def write(title: str = "", **more: str) -> Path:
    path = Path("study.yaml")
    path.write_text(study(title, **more))
    return path


@pytest.fixture(scope="module")
def run(server: Server) -> str:
    name = server.submit(name="made-up")
    server.until(name, "complete")
    return name


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    capsys.readouterr()
    code = main([*arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_run_from_the_shell(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "submit", str(write("sleep=0.5")))
    name = out.strip()
    assert code == 0 and name.startswith("tiny-") and err == ""
    code, out, _ = called(capsys, "ps")
    assert code == 0 and name in out
    assert called(capsys, "watch", name)[0] == 0
    code, out, _ = called(capsys, "ps", "--all", "--limit", "1")
    assert out.startswith(name) and "complete" in out and "2 supported" in out
    code, out, _ = called(capsys, "logs", name)
    assert code == 0 and "[10/10] cells" in out
    assert called(capsys, "logs", name, "--follow")[1] == out
    assert json.loads(called(capsys, "logs", name, "--json")[1])["log"] == out
    assert called(capsys, "logs", name, "--follow", "--attempt", "1")[0] == 2


def test_waiting_for_a_run_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "submit", str(write()), "--watch")
    assert code == 0 and "complete" in out and "supported      lower" in out
    assert called(capsys, "submit", str(write("fail")), "--watch")[0] == 3
    code, _, err = called(capsys, "submit", str(write("partial")), "--watch")
    assert code == 3 and "out of memory" in err
    code, _, err = called(capsys, "submit", str(write("regressed")), "--fail-on", "lower")
    assert code == 1 and "not supported: lower" in err
    assert called(capsys, "submit", str(write()), "--fail-on", "lower", "--quiet") == (
        *(0, "supported      lower\nsupported      kept\n", ""),
    )
    code, _, err = called(capsys, "submit", str(write()), "--fail-on", "lowr")
    assert code == 2 and "did you mean 'lower'" in err
    code, out, _ = called(capsys, "submit", str(write()), "--watch", "--json")
    assert json.loads(out)["verdicts"]["kept"] == "supported"


def test_a_run_is_cancelled_from_the_shell(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    name = json.loads(called(capsys, "submit", str(write("sleep=60")), "--json")[1])["name"]
    server.until(name, "running")
    assert called(capsys, "cancel", name)[0] == 0
    code, _, err = called(capsys, "watch", name)
    assert code == 3 and "cancelled" in err
    code, _, err = called(capsys, "cancel", name)
    assert code == 3 and "has ended" in err
    with Client() as client:
        assert client.resume(name) in ("queued", "running")
        server.until(name, "running")
        client.cancel(name)
        server.until(name, "cancelled")
        assert client.delete(name).startswith(name)


@pytest.mark.parametrize("name", ["none", "..", "a/b", "", "%2e%2e", "../runs"])
def test_a_run_that_is_none_is_said_to_be(capsys: pytest.CaptureFixture[str], name: str) -> None:
    for command in ("watch", "cancel", "logs", "fetch"):
        code, _, err = called(capsys, command, name)
        assert code == 2 and ("no run" in err or "no name" in err), err


def test_problems_of_a_spec_look_as_those_of_validate(capsys: pytest.CaptureFixture[str]) -> None:
    for text in (study().replace("retention", "retentio"), "a: [", "schema: mechshift/v1\nname: x\n", "\u2028: 1"):
        path = Path("study.yaml")
        path.write_text(text)
        expected = called(capsys, "validate", str(path), "--no-files")
        assert expected[0] == 2
        assert called(capsys, "submit", str(path)) == expected


def test_a_spec_that_is_no_text_is_refused_here(capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.yaml").write_bytes(b"\xff")
    assert "not UTF-8" in called(capsys, "submit", "study.yaml")[2]
    assert "cannot be read" in called(capsys, "submit", "none.yaml")[2]


def test_files_beside_a_spec_go_along(server: Server) -> None:
    spec = study().replace("{name: ioi, examples: 20}", "{name: mine, regime: local, dataset: pairs.jsonl}")
    Path("study.yaml").write_bytes(spec.replace("\n", "\r\n").encode())
    Path("pairs.jsonl").write_text('{"a": "ü"}\n')
    Path("study.registration.json").write_text("{}")
    with Client() as client:
        name = client.submit("study.yaml").name
        inputs = server.root / ".mechshift" / "jobs" / name / "inputs"
        assert {path.name for path in inputs.iterdir()} == {"spec.yaml", "pairs.jsonl", "spec.registration.json"}
        assert (inputs / "pairs.jsonl").read_text() == '{"a": "ü"}\n'
        assert (inputs / "spec.yaml").read_bytes() == Path("study.yaml").read_bytes()


def test_values_that_are_set_go_along_in_the_spec(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    spec = write()
    code, out, _ = called(capsys, "submit", str(spec), "--set", "tasks.ioi.examples=15", "--limit", "18")
    assert code == 0
    sent = (server.root / ".mechshift" / "jobs" / out.strip() / "inputs" / "spec.yaml").read_text()
    assert sent.startswith(spec.read_text().rstrip("\n"))
    assert sent.splitlines()[-3:] == ["overrides:", "  limit: 18", "  tasks.ioi.examples: 15"]
    code, _, err = called(capsys, "submit", str(spec), "--set", "tasks.io.examples=15")
    assert (code, err) == (2, "--set tasks.io.examples: 'tasks' has no entry 'io' (did you mean 'ioi'?)\n")
    code, _, err = called(capsys, "submit", str(spec), "--set", "tasks.0.exampels=15")
    assert code == 2 and "unknown key 'exampels' (did you mean 'examples'?)" in err


@pytest.mark.parametrize(
    ("data", "reason"),
    [("none.jsonl", "no such file"), ("data/pairs.jsonl", "only files beside the spec"), ("data", "is a folder")],
)
def test_what_can_not_go_along_is_named_at_its_place(data: str, reason: str) -> None:
    Path("data").mkdir()
    Path("data/pairs.jsonl").write_text("{}")
    spec = study().replace("{name: ioi, examples: 20}", f"{{name: mine, regime: local, dataset: {data}}}")
    Path("study.yaml").write_text(spec)
    with Client() as client, pytest.raises(SpecError, match=reason) as raised:
        client.submit("study.yaml")
    assert str(raised.value).startswith("study.yaml:10:42: ")


def test_a_run_is_fetched_whole_and_read_like_one_of_ours(
    run: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = called(capsys, "fetch", run)
    assert code == 0
    folder = Path("runs") / run
    for path in folder.rglob("*"):
        assert path.is_dir() or path.read_bytes() == (server.root / run / path.relative_to(folder)).read_bytes()
    assert {"spec.yaml", "findings.json", "provenance.json", "report.html", "tables"} <= {
        path.name for path in folder.iterdir()
    }
    assert called(capsys, "check", str(folder), "--baseline", "b.json", "--update")[0] == 0
    assert called(capsys, "fetch", run, "--to", "again")[0] == 0
    code, out, _ = called(capsys, "compare", str(folder), "again")
    assert code == 0 and "Nothing differs" in out
    code, _, err = called(capsys, "fetch", run, "--to", "again")
    assert code == 2 and "exists already" in err
    assert [path.name for path in Path.cwd().iterdir() if path.name.endswith(".tmp")] == []


def test_what_has_not_ended_is_not_fetched(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    name = server.submit("sleep=60")
    code, _, err = called(capsys, "fetch", name, "--to", "here")
    assert code == 3 and "can't be fetched" in err and not Path("here").exists()
    server.http.post(f"/runs/{name}/cancel")


def test_ci_checks_a_run_of_a_server(run: str, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--server", server.address, "--baseline", "baseline.json"]
    code, _, err = called(capsys, "check", run, *at)
    assert code == 2 and "--update` makes it" in err
    assert called(capsys, "check", run, *at, "--update")[0] == 0
    code, out, _ = called(capsys, "check", run, *at, "--junit", "gate.xml", "--markdown", "gate.md")
    assert code == 0 and "gate: passed" in out and "testsuite" in Path("gate.xml").read_text()
    regressed = server.submit("regressed", name="made-up")
    server.until(regressed, "complete")
    code, out, _ = called(capsys, "check", regressed, *at, "--json")
    assert code == 1 and json.loads(out)["run"] == regressed
    partial = server.submit("partial", name="made-up")
    server.until(partial, "partial")
    assert called(capsys, "check", partial, *at)[0] == 3
    assert called(capsys, "check", run, *at, "--fail-on", "kept")[0] == 0
    with Client() as client:
        baseline = json.loads(Path("baseline.json").read_text())
        assert client.check(regressed, baseline)["exit_code"] == 1
        assert client.findings(run)["hypotheses"][0]["id"] == "lower"
        assert client.table(run, "layers", where=["layer=1"]).startswith(b"PAR1")
        assert client.table(run, "layers", format="csv").count(b"\n") == 4


@pytest.mark.nightly
def test_interrupted_while_it_watches_the_run_goes_on(server: Server) -> None:
    path = write("sleep=60").absolute()
    call = [*REAL, "submit", str(path), "--watch"]
    process = subprocess.Popen(call, env={**os.environ, **HERE}, text=True, stdout=-1, stderr=-1)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    server.until(name, "running")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130 and f"{name} goes on" in err
    assert server.run(name)["state"] == "running"
    server.http.post(f"/runs/{name}/cancel")


class Answers(BaseHTTPRequestHandler):
    """Answers with what a test has put there."""

    script: Callable[[Answers], None]

    def handle_any(self) -> None:
        type(self).script(self)

    do_GET = do_POST = handle_any  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def answering(script: Callable[[Answers], None], *, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """A server that is not mechshift's, in a thread."""
    handler = type("Scripted", (Answers,), {"script": staticmethod(script)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def complaint(address: str, token: str | None = None) -> MechshiftError:
    with pytest.raises(MechshiftError) as raised, Client(address, token, patience=0.2) as client:
        client.runs()
    return raised.value


BOMB = gzip.compress(bytes(300 * 2**20), 1)
ERROR = b'{"error": {"message": "\\u001b[31mno", "problems": []}}'
WRONG: dict[str, tuple[Callable[[Answers], None], type[MechshiftError], str]] = {
    "a page": (lambda a: a.say(200, b"<html>"), ExecutionError, "expected JSON"),
    "another API": (lambda a: a.say(500, b"{}"), ExecutionError, "got status 500 of something else"),
    "a proxy before nothing": (lambda a: a.say(502, b"<html>"), ExecutionError, "does not reach it (status 502)"),
    "a redirect": (lambda a: a.say(302, location="https://evil"), UsageError, "says to go to https://evil (302)"),
    "a token is needed": (lambda a: a.say(401, ERROR), UsageError, "set MECHSHIFT_TOKEN to one that"),
    "an unknown host": (lambda a: a.say(421, ERROR), UsageError, "no"),
    "a full queue": (lambda a: a.say(503, ERROR, retry_after="60"), ExecutionError, "no"),
    "colours": (lambda a: a.say(400, ERROR), UsageError, "\N{REPLACEMENT CHARACTER}[31mno"),
    "nothing": (lambda a: a.connection.close(), ExecutionError, "not reachable"),
    "another answer": (lambda a: a.say(200, b"[]"), ExecutionError, "expected 'runs'"),
    "no list": (lambda a: a.say(200, b'{"runs": 5}'), ExecutionError, "expected 'runs'"),
    "no run": (lambda a: a.say(200, b'{"runs": [{"name": 5}]}'), ExecutionError, "got name '5'"),
    "broken packing": (lambda a: a.say(200, b"not packed", content_encoding="gzip"), ExecutionError, "can't be read"),
    "a bomb": (lambda a: a.say(200, BOMB, content_encoding="gzip"), ExecutionError, "has more than"),
    "deep JSON": (lambda a: a.say(200, b"[" * 100_000), ExecutionError, "expected JSON"),
    "deep nesting": (lambda a: a.say(400, b"[" * 100_000), ExecutionError, "something else"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_servers_that_are_none_or_refuse(case: str) -> None:
    script, kind, text = WRONG[case]
    with answering(script) as address:
        error = complaint(address)
        assert type(error) is kind and text in str(error)
        assert address in str(error) or "expected" in str(error)


def test_a_token_that_is_not_let_in() -> None:
    with answering(lambda a: a.say(401, ERROR)) as address:
        assert "is not let in (revoked" in str(complaint(address, "mst_x"))


def test_no_server_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "ps", "--server", "http://127.0.0.1:9")
    assert code == 3 and "not reachable" in err and "mechshift serve" in err and "MECHSHIFT_SERVER" in err


@pytest.mark.parametrize(
    "address", ["runs.example.org", "ftp://x", "http://", "http://a:b@c", "http://x:99999", "http://["]
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match="expected http://HOST:PORT"):
        Client(address)


def test_a_token_goes_through_no_network_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="unencrypted"):
        Client("http://runs.example.org", "mst_x")
    monkeypatch.setenv("MECHSHIFT_INSECURE", "1")
    Client("http://runs.example.org", "mst_x").close()
    for wrong in ("mst x", "mst_\n x", "ü"):
        with pytest.raises(UsageError, match="MECHSHIFT_TOKEN") as raised:
            Client("https://runs.example.org", wrong)
        assert wrong not in str(raised.value)


def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_key(server: Server) -> None:
    write()
    keys: list[str] = []

    def lose_two(handler: Answers) -> None:
        keys.append(handler.headers["idempotency-key"])
        body = handler.rfile.read(int(handler.headers["content-length"]))
        headers = {"idempotency-key": keys[-1], "content-type": "application/json"}
        answer = server.http.post("/runs", content=body, headers=headers)
        if len(keys) < 3:
            handler.connection.shutdown(2)
        else:
            handler.headers.replace_header("content-length", "0")
            handler.say(answer.status_code, answer.content)

    before = server.http.get("/runs").json()["total"]
    with answering(lose_two) as address, Client(address) as client:
        name = client.submit("study.yaml").name
    assert len(keys) == 3 and len({*keys}) == 1
    assert server.http.get("/runs").json()["total"] == before + 1
    assert server.run(name)["name"] == name


def test_a_stream_that_breaks_goes_on_where_it_was() -> None:
    seen: list[str] = []
    state = {"name": "r", "state": "running", "title": "a\u2028b"}

    def break_off(handler: Answers) -> None:
        seen.append(handler.headers.get("last-event-id", ""))
        if len(seen) == 2:
            handler.say(502, b"<html>")
            return
        handler.send_response(200)
        handler.end_headers()
        part = len(seen)
        events = f"id: 1:{part}\r\nevent: log\ndata: {json.dumps({'text': str(part)})}\n\n: still there\n\n"
        events += f"event: run\ndata: {json.dumps(state, ensure_ascii=False)}\n\n"
        if part == 3:
            events += 'event: end\ndata: {"state": "complete"}\n\n'
        handler.wfile.write(events.encode() + b"event: r")

    with answering(break_off) as address, Client(address, patience=20) as client:
        events = [*client.watch("r")]
    assert "".join(event.log for event in events) == "13" and seen == ["", "1:1", "1:1"]
    assert [event.run.title for event in events if event.run] == ["a\u2028b"] * 2


def test_a_server_that_names_files_elsewhere_writes_none(tmp_path: Path) -> None:
    from mechshift_core.service.fetching import fetch

    for name in ("../x", "/etc/x", "tables/../../x", "tables/", "a\x00b", ".lock", "tables/a/b"):
        listing = json.dumps([{"path": name, "bytes": 1}]).encode()
        with (
            answering(lambda a, listing=listing: a.say(200, listing)) as address,  # type: ignore[misc]
            Client(address) as client,
            pytest.raises(ExecutionError, match="that is none"),
        ):
            fetch(client, "r", tmp_path / "here")
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_does_not_end_is_cut_and_none_is_kept(tmp_path: Path) -> None:
    from mechshift_core.service.fetching import fetch

    def endless(handler: Answers) -> None:
        if handler.path.endswith("/files"):
            handler.say(200, json.dumps([{"path": "findings.json", "bytes": 10}]).encode())
        elif "/files/" in handler.path:
            handler.send_response(200)
            handler.end_headers()
            with suppress(OSError):
                while True:
                    handler.wfile.write(bytes(2**20))
        else:
            handler.say(200, b'{"name": "r", "state": "complete"}')

    refused = pytest.raises(ExecutionError, match="has not the 10 bytes")
    with answering(endless) as address, Client(address) as client, refused:
        fetch(client, "r", tmp_path / "here")
    assert [*tmp_path.iterdir()] == []


def test_a_page_in_place_of_events_is_not_watched(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(lambda a: a.say(200, b"<html>", content_type="text/html")) as address:
        code, _, err = called(capsys, "watch", "r", "--server", address)
    assert code == 3 and "expected events" in err
    refused = pytest.raises(ExecutionError, match="again and again")
    with answering(lambda a: a.say(200)) as address, Client(address, patience=0.1) as client, refused:
        [*client.watch("r")]


def test_nothing_that_a_server_says_is_obeyed_by_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[31m\r"
    shown = {"name": evil, "state": evil, "submitted_by": evil, "last": evil, "message": evil}
    run = json.dumps({**shown, "progress": {"what": evil, "done": "x"}})
    events = f"event: run\ndata: {run}\n\nevent: end\ndata: {{}}\n\n"

    def script(handler: Answers) -> None:
        listed = handler.path.startswith("/api/v1/runs?")
        body = events if "events" in handler.path else json.dumps({"runs": [shown], "next": None} if listed else shown)
        handler.say(200, body.encode())

    with answering(script) as address:
        for call in (["ps", "--all"], ["watch", "r"], ["cancel", "r"], ["submit", str(write())]):
            _, out, err = called(capsys, *call, "--server", address)
            assert "\x1b" not in out + err and "\r" not in out + err and "\N{REPLACEMENT CHARACTER}[31m" in out + err


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    call = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    subprocess.run(call, check=True, capture_output=True)
    body = json.dumps({"runs": [], "next": None, "total": 0}).encode()
    with answering(lambda a: a.say(200, body), tls=(certificate, key)) as address:
        assert "its certificate is not trusted" in str(complaint(address))
        assert "SSL_CERT_FILE" in str(complaint(address))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with Client(address, "mst_x") as client:
            assert client.runs() == []
        assert "certificate is not trusted" in str(complaint(address.replace("localhost", "127.0.0.1")))
    with answering(lambda a: a.say(200, body)) as address:
        assert "no TLS is spoken there" in str(complaint(address.replace("http:", "https:")))


def test_help_says_that_a_token_on_the_line_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("submit", "ps", "watch", "cancel", "logs", "fetch", "check"):
        out = called(capsys, command, "--help")[1]
        assert "seen by others" in " ".join(out.split()), command


def test_the_templates_can_be_handed_in(server: Server) -> None:
    found = starter("quickstart")
    Path("study.yaml").write_text(found.spec)
    for name, text in found.companions.items():
        Path(name).write_text(text)
    with Client() as client:
        run = client.submit(Path("study.yaml"))
        assert run.study == "quickstart"
        assert client.runs(q=run.name)[0].name == run.name
