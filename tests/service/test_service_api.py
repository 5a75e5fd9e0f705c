"""Every part of the interface, asked over HTTP of a server in a process of its own."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pytest
from servers import Server, message, serving, study, wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("root"), settings="at_once: 2\n") as found:
        yield found


@pytest.fixture(scope="module")
def run(server: Server) -> str:
    name = server.submit("plain <script>alert(1)</script>", name="made-up")
    assert server.until(name, "complete", "failed")["state"] == "complete"
    return name


@pytest.fixture(scope="module")
def other(server: Server, run: str) -> str:
    name = server.submit("regressed", name="made-up")
    server.until(name, "complete")
    return name


def get(server: Server, path: str, status: int = 200, **params: Any) -> Any:
    answer = server.http.get(path, params=params)
    assert answer.status_code == status, answer.text
    return answer.json() if status < 400 else message(answer)


def sql(server: Server, text: str, status: int = 200, **more: Any) -> Any:
    answer = server.http.post("/sql", json={"sql": text, **more})
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else message(answer)


def test_a_run_that_was_handed_in_is_described(server: Server, run: str) -> None:
    found = get(server, f"/runs/{run}")
    assert re.fullmatch(r"made-up-\d{8}-[0-9a-f]{6}", run)
    assert found["study"] == "made-up" and found["models"] == ["arm", "mdm"] and found["tasks"] == ["ioi"]
    assert found["state"] == "complete" and found["supported"] == 2 and found["attempts"] == 1
    assert found["submitted"] <= found["started"] <= found["ended"] == found["last"]
    assert found["title"] == "plain <script>alert(1)</script>"


def test_what_a_run_left_is_given_as_it_is(server: Server, run: str) -> None:
    folder = server.root / run
    assert server.http.get(f"/runs/{run}/spec").content == (folder / "spec.yaml").read_bytes()
    for name in ("findings", "provenance"):
        assert get(server, f"/runs/{run}/{name}") == json.loads((folder / f"{name}.json").read_text())
    page = server.http.get(f"/runs/{run}/report")
    assert "sandbox" in page.headers["content-security-policy"] and page.headers["content-type"].startswith("text/html")
    listed = {one["path"]: one["bytes"] for one in get(server, f"/runs/{run}/files")}
    assert {"spec.yaml", "plan.json", "findings.json", "tables/layers.parquet", "report.html"} <= listed.keys()
    for path, size in listed.items():
        content = server.http.get(f"/runs/{run}/files/{path}").content
        assert content == (folder / path).read_bytes() and len(content) == size
    assert [one["id"] for one in get(server, f"/runs/{run}/baseline")["findings"]] == ["lower", "kept"]


@pytest.mark.parametrize(
    "path",
    [
        "/runs/no-such-run", "/runs/%2e%2e", "/runs/..%2f..%2fetc", "/runs/.mechshift", "/runs/RUN/files/..%2fx",
        "/runs/RUN/files/cells/x", "/runs/RUN/files/.lock", "/runs/RUN/tables/..%2f..%2fx", "/runs/RUN/tables/none",
        "/specs/templates/..%2f..%2fmain", "/specs/templates/none", "/nothing",
        "/runs/RUN/files/tables%2f..%2fspec.yaml",
        "/runs/%00", "/runs/" + "a" * 500,
    ],
)  # fmt: skip
def test_names_that_are_none_or_lead_out_are_not_found(server: Server, run: str, path: str) -> None:
    answer = server.http.get(path.replace("RUN", run))
    assert answer.status_code == 404, answer.text
    assert answer.headers["content-type"] == "application/json" and message(answer)


def test_any_other_folder_of_the_root_is_no_run(server: Server) -> None:
    (server.root / "sources").mkdir()
    (server.root / "sources" / "spec.yaml").write_text("secret: true")
    assert "no run" in get(server, "/runs/sources", 404)
    assert "no run" in get(server, "/runs/sources/spec", 404)
    assert server.http.delete("/runs/sources").status_code == 404
    assert (server.root / "sources" / "spec.yaml").is_file()


def test_the_log_is_given_part_by_part(server: Server, run: str) -> None:
    whole = get(server, f"/runs/{run}/log")
    assert whole["attempt"] == 1 and "[0/10] cells" in whole["text"]
    behind = get(server, f"/runs/{run}/log", offset=10)
    assert behind["text"] == whole["text"][10:] and behind["next"] == whole["next"]
    assert get(server, f"/runs/{run}/log", offset=10**9)["text"] == ""
    assert get(server, f"/runs/{run}/log", attempt=7)["text"] == ""
    assert "offset" in get(server, f"/runs/{run}/log", 422, offset=-1)


@pytest.mark.long
def test_a_run_is_watched_as_it_goes_on_and_a_cut_connection_goes_on_where_it_was(server: Server) -> None:
    name = server.submit("sleep=1")
    kinds, ids, states = [], [], []
    with server.http.stream("GET", f"/runs/{name}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                kinds.append(value)
            elif field == "id":
                ids.append(value)
            elif field == "data" and kinds[-1] == "run":
                states.append(json.loads(value)["state"])
    assert kinds[-1] == "end" and states[-1] == "complete" and "running" in states
    again = server.http.get(f"/runs/{name}/events", headers={"last-event-id": ids[-1]}).text
    assert "event: log" not in again and "event: end" in again
    whole = server.http.get(f"/runs/{name}/events", headers={"last-event-id": "²:x".encode("latin-1")}).text
    assert "event: log" in whole


@pytest.mark.parametrize(
    "where", [[], ["layer=1"], ["used=true"], ["value="], ["pair=diffusion", "layer=2"], ["value=0.5"]]
)
def test_tables_are_filtered_and_given_in_every_format(server: Server, run: str, where: list[str]) -> None:
    path = f"/runs/{run}/tables/layers"
    assert get(server, f"/runs/{run}/tables") == ["layers"]
    rows = get(server, path, where=where)
    assert rows["columns"] == ["pair", "layer", "value", "all", "used"]
    layers = [row[1] for row in rows["rows"]]
    assert rows["total"] == len(layers) > 0
    parquet = pl.read_parquet(io.BytesIO(server.http.get(path, params={"where": where, "format": "parquet"}).content))
    csv = pl.read_csv(io.BytesIO(server.http.get(path, params={"where": where, "format": "csv"}).content))
    assert parquet["layer"].to_list() == csv["layer"].to_list() == layers
    assert get(server, path, where=where, limit=1, offset=len(layers) - 1)["rows"][0][1] == layers[-1]


def test_filters_of_tables_that_are_none_are_named(server: Server, run: str) -> None:
    path = f"/runs/{run}/tables/layers"
    assert "no column 'lair'" in get(server, path, 400, where="lair=1")
    assert "Int64" in get(server, path, 400, where="layer=one")
    assert "lists" in get(server, path, 400, where="all=1")
    for number in ("9" * 40, "9" * 5000):
        get(server, path, 400, where=f"layer={number}")
    assert "limit" in get(server, path, 422, limit=0)
    assert "format" in get(server, path, 422, format="xls")


@pytest.mark.long
def test_lists_are_filtered_and_paged_without_gaps(server: Server, run: str, other: str) -> None:
    names = [one["name"] for one in get(server, "/runs", limit=1000)["runs"]]
    paged, after = [], None
    while True:
        page = get(server, "/runs", limit=1, **({"after": after} if after else {}))
        paged += [one["name"] for one in page["runs"]]
        assert page["total"] >= len(names)
        if (after := page["next"]) is None:
            break
    assert paged == names and len({*names}) == len(names)
    found = get(server, "/runs", study="made-up", state="complete", model="mdm", task="ioi")
    assert [one["name"] for one in found["runs"]] == [other, run]
    assert [one["name"] for one in get(server, "/runs", verdict="refuted")["runs"]] == [other]
    assert get(server, "/runs", q="alert(1)")["total"] == 1
    assert get(server, "/runs", q="100% _' OR 1=1 --")["total"] == 0
    assert get(server, "/runs", by="nobody")["total"] == 0
    for wrong in ({"after": "x"}, {"after": "WyJcdWQ4MDAiLCAiYSJd"}):
        assert "after" in get(server, "/runs", 400, **wrong)
    assert "state" in get(server, "/runs", 422, state="lost")


@pytest.mark.long
def test_findings_are_searched_over_all_runs(server: Server, run: str, other: str) -> None:
    found = get(server, "/findings", q="lower made-up")
    verdicts = {(one["run"], one["verdict"]) for one in found["findings"] if one["id"] == "lower"}
    assert verdicts == {(run, "supported"), (other, "refuted")}
    (estimate,) = get(server, "/findings", run=run, sort="estimate")["findings"]
    assert (estimate["pair"], estimate["task"], estimate["side"], estimate["estimate"]) == (
        "diffusion", "countdown", "between", 0.6,
    )  # fmt: skip
    assert get(server, "/findings", verdict="refuted", model="mdm", measure="retention", task="countdown")["total"] == 1
    assert [one["estimate"] for one in get(server, "/trend", study="made-up", id="lower")] == [-0.4, 0.4]
    known = get(server, "/known")
    assert known["measures"] == ["retention"] and "mdm" in known["models"] and "complete" in known["states"]


def test_runs_are_compared_and_checked(server: Server, run: str, other: str) -> None:
    compared = get(server, "/compare", run=[run, other])
    assert [one["estimate"] for one in compared["rows"][0]["runs"]] == [-0.4, 0.4]
    assert "between 2 and 20" in get(server, "/compare", 400, run=[run])
    baseline = get(server, f"/runs/{run}/baseline")
    checked = server.http.post(f"/runs/{other}/check", json={"baseline": baseline, "must_hold": ["kept"]}).json()
    assert checked["exit_code"] == 1
    assert server.http.post(f"/runs/{run}/check", json={"baseline": baseline}).json()["exit_code"] == 0
    for body in ({"baseline": {}}, {"baseline": baseline, "must_hold": ["none"]}):
        assert server.http.post(f"/runs/{run}/check", json=body).status_code == 400
    assert server.http.post(f"/runs/{run}/check", json={"baseline": []}).status_code == 422


def test_questions_in_sql_are_answered(server: Server, run: str) -> None:
    found = sql(server, "WITH a AS (SELECT name FROM runs WHERE name = '" + run + "') SELECT name, 1.5 AS x FROM a")
    assert found == {"columns": ["name", "x"], "rows": [[run, 1.5]], "truncated": False}
    counted = sql(server, "SELECT r.name, count(*) FROM findings f JOIN runs r ON r.name = f.run GROUP BY 1", limit=1)
    assert counted["truncated"] and len(counted["rows"]) == 1
    assert sql(server, "SELECT x'ff', 9e999, NULL")["rows"] == [["ff", None, None]]


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM runs", "DROP TABLE runs", "UPDATE runs SET name = 'x'", "INSERT INTO runs (name) VALUES ('x')",
        "CREATE TABLE x (y)", "CREATE TEMP TABLE x (y)", "CREATE VIEW v AS SELECT 1", "ATTACH '/etc/passwd' AS x",
        "PRAGMA query_only = OFF", "PRAGMA writable_schema = 1", "SELECT * FROM pragma_database_list",
        "SELECT load_extension('x')", "SELECT * FROM jobs", "SELECT * FROM stamps",
        "SELECT count(*) FROM JOBS", "SELECT 1 FROM main.jobs",
        "SELECT count(*) FROM pragma_table_list", "SELECT * FROM sqlite_master",
        "SELECT readfile('/etc/passwd')", "VACUUM", "VACUUM INTO '/tmp/x'", "SELECT 1; DROP TABLE runs", "BEGIN", "",
        "SELECT", "REINDEX", "EXPLAIN SELECT client_key FROM jobs", "SELECT (SELECT client_key FROM jobs)",
        "SELECT fts3_tokenizer('x')", "SELECT '\x00' FROM nothing", "SELECT CAST(x'ff' AS TEXT)",
        "WITH runs AS (SELECT * FROM jobs) SELECT * FROM runs",
        "SELECT client_key FROM (SELECT NULL AS client_key) NATURAL FULL JOIN jobs",
        "SELECT count(*) FROM (SELECT 'key' AS client_key) NATURAL JOIN jobs",
        "SELECT count(*) FROM runs JOIN jobs USING (name)",
        "SELECT 1 FROM (SELECT 2 AS rootpage) NATURAL JOIN sqlite_master",
        "/* ' */ SELECT count(*) FROM runs NATURAL JOIN stamps -- '",
    ],
)  # fmt: skip
def test_nothing_but_questions_about_what_is_shown_is_answered(server: Server, run: str, text: str) -> None:
    answer = server.http.post("/sql", json={"sql": text})
    assert answer.status_code in (400, 422), answer.text
    assert get(server, f"/runs/{run}")["state"] == "complete"


@pytest.mark.long
def test_long_questions_and_huge_answers_are_cut(server: Server, run: str) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    assert "longer than" in sql(server, endless + "SELECT count(*) FROM c", 400)
    found = sql(server, endless + "SELECT printf('%.*c', 1000000, 'x') FROM c LIMIT 5000", limit=5000)
    assert found["truncated"] and sum(len(row[0]) for row in found["rows"]) < 2**25
    assert "SQL:" in sql(server, "SELECT hex(zeroblob(100000000))", 400)
    sql(server, f"SELECT '{'a' * 9000}' LIKE '{'%a' * 4000}b'", 400)
    much = sql(server, f"SELECT * FROM ({endless} SELECT randomblob(1000000) AS r FROM c ORDER BY r)", 400)
    assert any(limit in much for limit in ("memory", "longer than", "too big")), much


@pytest.mark.long
def test_a_question_whose_single_step_takes_minutes_is_ended(server: Server) -> None:
    step = "instr(zeroblob(1000000), CAST(zeroblob(500000) || c.x AS BLOB))"
    endless = f"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 50) SELECT sum({step}) FROM c"
    began = time.monotonic()
    assert "longer than" in sql(server, endless, 400)
    assert time.monotonic() - began < 30


@pytest.mark.long
def test_a_spec_in_one_line_with_many_problems_is_answered_in_short(server: Server) -> None:
    wrong = "{" + ", ".join(f"k{number}: 1" for number in range(3000)) + f", title: {'x' * 300_000}}}"
    for path, status in (("/specs/validate", 200), ("/runs", 422)):
        answer = server.http.post(path, json={"spec": wrong})
        assert answer.status_code == status and len(answer.content) < 2**20
        content = answer.json() if status == 200 else answer.json()["error"]
        assert re.fullmatch(r"\.\.\. and \d+ more problems", content["problems"][-1]["message"])


def test_queries_are_saved_for_all(server: Server) -> None:
    assert server.http.put("/queries/All of them", json={"sql": "SELECT 1"}).status_code == 204
    assert get(server, "/queries") == {"All of them": "SELECT 1"}
    assert server.http.put("/queries/.x", json={"sql": "SELECT 1"}).status_code == 422
    assert server.http.delete("/queries/All of them").status_code == 204
    assert server.http.delete("/queries/All of them").status_code == 404


def test_specs_are_checked_with_lines_and_columns(server: Server) -> None:
    wrong = study().replace("retention", "retentio")
    for path, status in (("/specs/validate", 200), ("/runs", 422)):
        answer = server.http.post(path, json={"spec": wrong})
        assert answer.status_code == status
        content = answer.json() if status == 200 else answer.json()["error"]
        (problem,) = content["problems"]
        assert (problem["line"], problem["source_line"]) == (14, wrong.splitlines()[13])
        assert "retentio" in problem["message"] and problem["column"] == 26
    assert server.http.post("/specs/validate", json={"spec": study()}).json()["ok"]
    assert get(server, "/specs/schema")["title"] and "quickstart" in get(server, "/specs/templates")
    assert "mechshift/v1" in get(server, "/specs/templates/quickstart")["spec"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422), (b"[]", 422), (b'{"spec": 1}', 422), (b'{"spec": "\\ud800"}', 422), (b"{}", 422), (b"", 422),
        (b'{"spec": ""}', 422), (b'{"spec": "a: [", "files": {}}', 422), (b'{"spec": "x: 1", "files": {"a": 1}}', 422),
        (b'{"spec": "x: 1", "files": {"../a": "x"}}', 400), (b'{"spec": "x: 1", "files": {"a/b": "x"}}', 400),
        (b'{"spec": "x: 1", "files": {"spec.yaml": "x"}}', 400), (b'{"spec": "x: 1", "files": {"a.py": "x"}}', 400),
        (b'{"spec": "x: 1", "files": {".a": "x"}}', 400), (b"[" * 100_000, 400),
    ],
)  # fmt: skip
def test_what_is_no_submission_is_refused(server: Server, body: bytes, status: int) -> None:
    answer = server.http.post("/runs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert message(answer)
    assert not [*(server.root / ".mechshift").glob(".new-*")]


def test_halves_of_characters_are_no_title(server: Server) -> None:
    answer = server.http.post("/runs", json={"spec": study("\\ud800")})
    assert answer.status_code in (400, 422), answer.text


@pytest.mark.long
def test_hostile_text_is_only_text(server: Server) -> None:
    name = server.submit("\\x1b[31m &amp; {{7*7}} '; DROP TABLE runs; --\\u2028", name="hostile")
    found = server.until(name, "complete")
    assert found["title"].startswith("\x1b[31m &amp; {{7*7}} '; DROP TABLE runs; --")
    assert server.http.get("/runs", params={"q": "{{7*7}}"}).json()["total"] == 1


def test_one_key_is_one_run_also_in_a_crowd(server: Server) -> None:
    def handed(_: int) -> tuple[int, str]:
        answer = server.http.post("/runs", json={"spec": study("keyed")}, headers={"idempotency-key": "k1"})
        return answer.status_code, answer.json()["name"]

    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(handed, range(16))]
    assert len({name for _, name in answers}) == 1
    assert sorted(status for status, _ in answers) == [200] * 15 + [202]
    other = server.http.post("/runs", json={"spec": study("another")}, headers={"idempotency-key": "k1"})
    assert other.status_code == 409 and "belongs to another submission" in message(other)
    assert server.http.post("/runs", json={"spec": study()}, headers={"idempotency-key": "x" * 201}).status_code == 422


@pytest.mark.long
def test_a_run_is_cancelled_resumed_and_deleted(server: Server) -> None:
    name = server.submit("sleep=60")
    server.until(name, "running")
    for path in (f"/runs/{name}", f"/runs/{name}/resume"):
        answer = server.http.request("DELETE" if path.endswith(name) else "POST", path)
        assert answer.status_code == 409 and "waits or runs" in message(answer)
    assert server.http.post(f"/runs/{name}/cancel").json()["state"] in ("cancelling", "cancelled")
    server.until(name, "cancelled")
    assert "has ended" in message(server.http.post(f"/runs/{name}/cancel"))
    assert server.http.post(f"/runs/{name}/resume").json()["state"] in ("queued", "running")
    server.until(name, "running")
    assert server.http.post(f"/runs/{name}/cancel").status_code == 200
    assert server.until(name, "cancelled")["attempts"] == 2
    trashed = server.http.delete(f"/runs/{name}").json()
    assert trashed["run"] == name and get(server, f"/runs/{name}", 404)
    assert trashed in get(server, "/trash")
    assert server.http.post(f"/trash/{trashed['id']}/restore").json() == {"name": name, "state": "cancelled"}
    again = server.http.delete(f"/runs/{name}").json()["id"]
    assert server.http.delete(f"/trash/{again}").status_code == 204
    for method, path in (("POST", f"/trash/{again}/restore"), ("DELETE", f"/trash/{again}"), ("DELETE", "/trash/..")):
        assert server.http.request(method, path).status_code in (404, 405)


@pytest.mark.long
def test_a_run_that_fails_or_is_partial_says_why(server: Server) -> None:
    failed, partial = server.submit("fail"), server.submit("partial")
    assert server.until(failed, "failed")["message"] == "it went wrong"
    assert server.until(partial, "partial")["message"] == "circuit of after on ioi: out of memory"
    assert "has no findings.json yet" in get(server, f"/runs/{failed}/findings", 404)


def test_the_server_says_how_it_is(server: Server, run: str) -> None:
    base = server.address
    assert server.http.get(f"{base}/health").json()["trouble"] == ""
    assert server.http.get(f"{base}/ready").json() == {"ready": True, "trouble": ""}
    metrics = server.http.get(f"{base}/metrics").text
    assert re.search(r'^mechshift_runs\{state="complete"\} [1-9]', metrics, re.MULTILINE)
    assert re.search(r'^mechshift_answers_total\{status="200"\} [1-9]', metrics, re.MULTILINE)


def test_every_answer_tells_browsers_to_trust_nothing(server: Server) -> None:
    for path in ("/runs", "/nothing", "/openapi.json"):
        headers = server.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"] and "server" not in headers


def test_other_sites_and_other_names_are_refused(server: Server) -> None:
    def post(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.http.post("/specs/validate", json={"spec": study()}, headers=sent).status_code

    own = server.address
    assert post() == post(origin=own) == post(sec_fetch_site="same-origin", origin=own) == 200
    assert post(origin="http://evil.example") == post(origin="null") == post(sec_fetch_site="cross-site") == 403
    assert post(sec_fetch_site="same-site") == post(origin=own.replace("http:", "http:evil")) == 403
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "localhost.", "0.0.0.0"):
        assert server.http.get("/runs", headers={"host": host}).status_code in (400, 421), host
    for host in ("localhost:1", "LOCALHOST", "[::1]:80"):
        assert server.http.get("/runs", headers={"host": host}).status_code == 200, host


@pytest.mark.long
def test_a_hundred_submissions_at_once_are_a_hundred_runs_in_order(server: Server) -> None:
    with ThreadPoolExecutor(20) as pool:
        names = [*pool.map(lambda number: server.submit(f"crowd {number} sleep=60"), range(100))]
    assert len({*names}) == 100
    numbers = [
        json.loads((server.root / ".mechshift" / "jobs" / name / "job.json").read_text())["number"] for name in names
    ]
    assert len({*numbers}) == 100
    running = wait_for(lambda: [one["name"] for one in get(server, "/runs", state="running", q="crowd")["runs"]])
    assert {*running} <= {name for number, name in sorted(zip(numbers, names, strict=True))[:2]}
    with ThreadPoolExecutor(20) as pool:
        assert {*pool.map(lambda name: server.http.post(f"/runs/{name}/cancel").status_code, names)} == {200}
    wait_for(lambda: get(server, "/runs", state="cancelled", q="crowd")["total"] == 100)
    assert server.http.get(f"{server.address}/health").json()["trouble"] == ""
