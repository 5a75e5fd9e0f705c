"""The pages over HTTP, as a browser without a script uses them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from servers import Server, serving, study
from stored_runs import finding, findings, write_run

from mechshift_core.service.pages.words import ago, duration, query_of

HOSTILE = "<script>window.evil=1</script><img src=x onerror=window.evil=1> \u202edekcart &"
PAGES = (
    "/", "/new", "/new?template=custom-task", "/findings", "/findings?sort=estimate&choices=1", "/trend", "/compare",
    "/trend?study=series&id=lower", "/compare?run=first&run=second", "/sql", "/trash", "/runs/first", "/runs/hostile",
    "/new?run=first", "/?q=no-such-run", "/findings?verdict=refuted", "/trend?study=series", "/compare?run=first",
)  # fmt: skip
TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


def attributes(text: str) -> set[str]:
    """Names of the attributes of a page's elements."""
    found: set[str] = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update(name for name, _ in attrs)

    Parser().feed(text)
    return found


class Reader:
    """Somebody with a browser that runs no script."""

    def __init__(self, server: Server, **headers: str) -> None:
        self.http = httpx.Client(base_url=server.address, headers={"accept": "text/html", **headers}, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def token(self, path: str) -> str:
        found = TOKEN.search(self.get(path).text)
        assert found is not None, path
        return found[1]

    def send(self, path: str, fields: dict[str, Any], *, seen_on: str = "/new", **headers: str) -> httpx.Response:
        """Send a form, with the token of the page it stands on unless another is given."""
        known = {"form_token": self.token(seen_on)} if "form_token" not in fields else {}
        return self.http.post(path, data=known | fields, headers=headers)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("root")
    write_run(root / "first", findings(name="series"))
    changed = finding(estimate=0.4, low=0.26, high=0.54, verdict="refuted")
    write_run(root / "second", findings(changed, name="series"))
    claimed = finding(claim=HOSTILE, message=HOSTILE, id="evil")
    write_run(root / "hostile", findings(claimed, name=HOSTILE), failures=(HOSTILE,))
    with serving(root) as running:
        yield running


@pytest.fixture
def reader(server: Server) -> Iterator[Reader]:
    with Reader(server) as made:
        yield made


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_no_code_and_names_no_other_place(reader: Reader, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert answer.headers["referrer-policy"] == "same-origin" and answer.headers["cache-control"] == "no-store"
    names = attributes(answer.text)
    assert "href" in names and not any(name == "style" or name.startswith("on") for name in names)
    assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", answer.text))
    assert not re.search(r"""(?:href|src|action)=["']?(?:https?:)?//""", answer.text)
    assert answer.text.count("<h1") == 1 and 'lang="en"' in answer.text
    assert HOSTILE not in answer.text and "\u202e" not in answer.text


def test_hostile_words_are_shown_as_they_are(reader: Reader) -> None:
    text = unescape(reader.get("/runs/hostile").text)
    assert "<script>window.evil=1</script>" in text and "⟨U+202E⟩dekcart" in text


def test_assets_are_kept_for_good_until_they_change(reader: Reader) -> None:
    for address in re.findall(r'(?:href|src)="(/assets/[^"]+)"', reader.get("/new").text):
        answer = reader.get(address)
        assert answer.status_code == 200 and answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = reader.http.get(address, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        older = reader.get(re.sub(r"/assets/[^/]+", "/assets/0123", address))
        assert (older.content, older.headers["cache-control"]) == (answer.content, "no-cache")
    assert reader.get("/assets/x/nothing.js").status_code == 404


def test_scripts_import_only_each_other(server: Server) -> None:
    folder = Path(__file__).parents[2] / "mechshift_core" / "service" / "pages" / "assets"
    scripts = {path.name: path.read_text("utf-8") for path in folder.glob("*.js")}
    named = {name for text in scripts.values() for name in re.findall(r'from "\./([^"]+)"', text)}
    assert named <= scripts.keys()
    assert not any(re.search(r"innerHTML\s*=[^=]|eval\(|document\.write|https?:", text) for text in scripts.values())
    assert all(len(text.splitlines()) <= 250 for text in scripts.values())


def test_an_error_is_a_page_for_browsers_and_json_for_programs(server: Server, reader: Reader) -> None:
    shown = reader.get("/runs/none")
    assert shown.status_code == 404 and "<h1>Not found</h1>" in shown.text
    assert reader.get("/nowhere").status_code == 404
    assert reader.http.get("/runs/none", headers={"accept": "*/*"}).json()["error"]["message"] == "no run 'none'"
    assert reader.get("/api/v1/runs/none").headers["content-type"] == "application/json"
    assert "<h1>Something is wrong" in reader.get("/findings?sort=nonsense").text


def test_filters_search_and_paging_are_a_plain_form(reader: Reader) -> None:
    def names(path: str) -> list[str]:
        return re.findall(r'data-name="([^"]+)"', reader.get(path).text)

    assert set(names("/")) >= {"first", "second", "hostile"}
    assert names("/?q=seco") == ["second"]
    assert names("/?verdict=refuted") == ["second"]
    assert set(names("/?study=series")) == {"first", "second"}
    assert names("/?state=partial") == ["hostile"]
    assert "No run fits" in reader.get("/?q=nothing-like-it").text
    assert reader.get("/?after=nonsense").status_code == 400


@pytest.mark.long
def test_an_empty_server_says_what_to_do_first(tmp_path: Path) -> None:
    with serving(tmp_path) as empty, Reader(empty) as reader:
        text = reader.get("/").text
        assert "No runs yet" in text and 'href="/new?template=quickstart"' in text
        assert all(reader.get(path).status_code == 200 for path in ("/findings", "/trend", "/compare", "/trash"))


@pytest.mark.long
def test_a_list_that_is_long_is_shown_in_parts(tmp_path: Path) -> None:
    for number in range(60):
        write_run(tmp_path / f"run-{number:02d}", findings())
    with serving(tmp_path) as long, Reader(long) as reader:
        first = reader.get("/").text
        more = re.search(r'href="([^"]+)" rel="next"', first)
        assert more is not None
        second = reader.get(unescape(more[1])).text
        seen = [re.findall(r'data-name="([^"]+)"', text) for text in (first, second)]
        assert [len(part) for part in seen] == [50, 10] and len({*seen[0], *seen[1]}) == 60
        assert "Older runs" not in second


def test_a_spec_with_a_mistake_comes_back_with_its_lines_and_all_that_was_typed(reader: Reader) -> None:
    text = study("wrong").replace("autoregressive", "autoregresive") + "# mine: </textarea><b>\n"
    for do, status in (("check", 200), ("submit", 422)):
        files = {"file_name": ["pairs.jsonl", ""], "file_text": ["{}\r\n", ""]}
        answer = reader.send("/new", {"do": do, "key": "k", "spec": text.replace("\n", "\r\n"), **files})
        assert answer.status_code == status
        assert 'data-line="5"' in answer.text and "masked_diffusion" in answer.text
        area = re.search(r'<textarea id="spec"[^>]*>\n(.*?)</textarea>', answer.text, re.DOTALL)
        assert area is not None and unescape(area[1]) == text
        assert 'value="pairs.jsonl"' in answer.text and 'aria-invalid="true"' in answer.text
    checked = reader.send("/new", {"do": "check", "spec": study("right")})
    assert "The spec is right." in checked.text


def test_a_run_is_handed_in_once_however_often_its_form_is_sent(server: Server, reader: Reader) -> None:
    sent = {"do": "submit", "key": "abc", "spec": study("once", name="once")}
    first, again = reader.send("/new", sent), reader.send("/new", sent)
    assert first.status_code == again.status_code == 303
    assert first.headers["location"] == again.headers["location"]
    other = reader.send("/new", sent | {"spec": study("once more", name="once")})
    assert other.headers["location"] != first.headers["location"]


def test_a_file_goes_along_with_the_spec(server: Server, reader: Reader) -> None:
    text = study("data", name="data").replace("examples: 20", "regime: local, dataset: pairs.jsonl")
    lost = reader.send("/new", {"do": "submit", "spec": text})
    assert lost.status_code == 422 and "did not come along" in lost.text
    taken = reader.send("/new", {"do": "submit", "spec": text, "file_name": "pairs.jsonl", "file_text": "{}\r\n{}\r\n"})
    assert taken.status_code == 303
    name = taken.headers["location"].rpartition("/")[2]
    inputs = server.root / ".mechshift" / "jobs" / name / "inputs"
    assert (inputs / "pairs.jsonl").read_bytes() == b"{}\n{}\n" and (inputs / "spec.yaml").read_text() == text
    assert 'value="pairs.jsonl"' in reader.get(f"/new?run={name}").text
    (inputs / "pairs.jsonl").write_bytes(b"x" * 2**21)
    large = reader.get(f"/new?run={name}").text
    assert "add them again: <bdi>pairs.jsonl</bdi>" in large and len(large) < 2**20


@pytest.mark.long
def test_a_run_is_watched_cancelled_resumed_deleted_and_restored_by_forms(server: Server, reader: Reader) -> None:
    name = server.submit("sleep=60", name="watched")
    server.until(name, "running")
    page = reader.get(f"/runs/{name}").text
    assert '<noscript><meta http-equiv="refresh"' in page and "Cancel" in page and "Move to the trash" not in page
    refused = reader.send(f"/runs/{name}/delete", {})
    assert refused.status_code == 409 and "cancel it first" in refused.text
    assert reader.send(f"/runs/{name}/cancel", {}).headers["location"] == f"/runs/{name}"
    server.until(name, "cancelled")
    page = reader.get(f"/runs/{name}").text
    assert "Resume" in page and 'http-equiv="refresh"' not in page
    assert reader.send(f"/runs/{name}/resume", {}).status_code == 303
    server.until(name, "running")
    reader.send(f"/runs/{name}/cancel", {})
    server.until(name, "cancelled")
    gone = reader.send(f"/runs/{name}/delete", {}).headers["location"]
    trash = reader.get(gone).text
    assert f"{name}</bdi> is in the trash" in trash and reader.get(f"/runs/{name}").status_code == 404
    back = re.search(r'action="(/trash/[^"]+/restore)"', trash)
    assert back is not None
    assert reader.send(back[1], {}).headers["location"] == f"/runs/{name}"
    assert reader.get(f"/runs/{name}").status_code == 200
    place = reader.send(f"/runs/{name}/delete", {}).headers["location"].partition("=")[2]
    assert reader.send(f"/trash/{place}/erase", {}).status_code == 303
    assert name not in reader.get("/trash").text


@pytest.mark.long
def test_cells_that_fail_are_shown_while_others_are_computed(server: Server, reader: Reader) -> None:
    name = server.submit("sleep=60", name="failing")
    server.until(name, "running")
    folder = server.root / name
    folder.mkdir()
    failed = {"event": "cell failed", "key": "k", "model": "mdm", "task": "ioi", "reason": HOSTILE}
    events = [failed | {"reason": "of an earlier attempt"}, {"event": "run"}, failed, {"event": "cell"}]
    (folder / "events.jsonl").write_text("\n".join(map(json.dumps, events)) + '\n{"event": "cell fai')
    page = unescape(reader.get(f"/runs/{name}").text)
    assert "1 cell failed so far" in page and "mdm on ioi: <script>" in page and "earlier attempt" not in page
    reader.send(f"/runs/{name}/cancel", {})
    server.until(name, "cancelled")
    assert "failed so far" not in reader.get(f"/runs/{name}").text


@pytest.mark.long
def test_a_run_that_has_ended_shows_verdicts_report_and_files(server: Server, reader: Reader) -> None:
    name = server.submit("partial", name="ended")
    server.until(name, "partial")
    page = reader.get(f"/runs/{name}").text
    assert f'<iframe sandbox="allow-scripts allow-downloads" src="/api/v1/runs/{name}/report"' in page
    assert "circuit of after on ioi: out of memory" in page and page.count('class="badge supported"') >= 2
    links = re.findall(rf'href="(/api/v1/runs/{name}/[^"]+)"', unescape(page))
    assert any("layers?format=csv" in link for link in links) and any(link.endswith("/findings") for link in links)
    assert all(reader.get(link).status_code == 200 for link in links)


FORMS = (
    "/runs/first/cancel", "/runs/first/resume", "/runs/first/delete", "/trash/x.1/restore", "/trash/x.1/erase",
    "/sql/remove", "/login", "/logout",
)  # fmt: skip


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_the_page_s_token_is_refused(reader: Reader, path: str) -> None:
    for token in ("", "0" * 64, "ü"):
        answer = reader.send(path, {"form_token": token, "name": "x"})
        assert answer.status_code == 403 and "Not taken" in answer.text
    assert reader.get("/runs/first").status_code == 200


@pytest.mark.parametrize("path", [*FORMS, "/new", "/sql"])
@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
def test_a_form_of_another_site_is_refused(reader: Reader, path: str, headers: dict[str, str]) -> None:
    answer = reader.send(path, {"spec": "x", "sql": "SELECT 1"}, **headers)
    assert answer.status_code == 403 and "<p>a request of another site" in answer.text
    program = reader.send(path, {"spec": "x"}, accept="*/*", **headers)
    assert program.json()["error"]["message"].startswith("a request of another site")


def test_what_was_typed_survives_a_server_that_was_started_again(reader: Reader) -> None:
    text = study("kept")
    answer = reader.send("/new", {"form_token": "0" * 64, "do": "submit", "spec": text})
    assert answer.status_code == 403 and "older than the server" in answer.text
    area = re.search(r'<textarea id="spec"[^>]*>\n(.*?)</textarea>', answer.text, re.DOTALL)
    assert area is not None and unescape(area[1]) == text
    sql = reader.send("/sql", {"form_token": "0" * 64, "do": "run", "sql": "SELECT 42 -- mine"})
    assert sql.status_code == 403 and "SELECT 42 -- mine" in sql.text


def test_only_forms_are_taken_as_forms(reader: Reader) -> None:
    assert reader.http.post("/new", json={"spec": "x"}).status_code == 415
    many = "&".join(f"a{number}=1" for number in range(1000))
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert reader.http.post("/new", content=many, headers=kind).status_code == 400
    assert reader.http.post("/new", content=b"\xff\xfe", headers=kind).status_code == 400


def test_findings_are_drawn_measure_by_measure_and_can_be_downloaded(reader: Reader) -> None:
    page = reader.get("/findings?q=series").text
    assert page.count('class="forest"') == 4 and "estimate −0.400, interval [−0.540, −0.260]" in page
    rows = reader.get("/findings.csv?q=series&verdict=refuted").text.splitlines()
    assert len(rows) == 2 and rows[1].startswith("second,series,hypothesis,,lower,")
    assert "attachment" in reader.get("/findings.csv").headers["content-disposition"]


def test_a_trend_marks_verdicts_and_what_changed(reader: Reader) -> None:
    page = reader.get("/trend?study=series&id=lower").text
    assert 'class="sign supported"' in page and 'class="sign refuted"' in page
    assert "supported before" in page or "refuted before" in page
    assert "has a hypothesis" in reader.get("/trend?study=series&id=none").text


def test_a_comparison_says_in_words_where_verdicts_differ(reader: Reader) -> None:
    page = reader.get("/compare?run=first&run=second").text
    assert "<b>differ</b>" in page and "supported, then refuted" in page and "not there" in page
    assert "Choose between 2 and 20 runs" in reader.get("/compare?run=first").text
    assert reader.get("/compare?run=first&run=none").status_code == 404


@pytest.mark.long
def test_sql_is_answered_saved_downloaded_and_refused(reader: Reader) -> None:
    def ask(sql: str, do: str = "run", name: str = "") -> httpx.Response:
        return reader.send("/sql", {"sql": sql, "do": do, "name": name})

    assert "<bdi>&lt;script&gt;" in ask("SELECT claim FROM findings WHERE id = 'evil'").text
    assert 'class="s muted">null' in ask("SELECT NULL").text
    csv = ask("SELECT '=1+1' AS a, -3 AS b", "csv")
    assert csv.text == "a,b\n'=1+1,-3\n"
    for wrong in ("DELETE FROM runs", "SELECT * FROM jobs", "nonsense", ""):
        answer = ask(wrong)
        assert answer.status_code in (400, 422) and 'aria-invalid="true"' in answer.text
    assert ask("SELECT 1", "save", "<b>").status_code == 422
    saved = ask("SELECT count(*) AS many FROM runs", "save", "how many")
    assert saved.headers["location"] == "/sql?saved=how+many"
    assert "many" in reader.get("/sql?saved=how+many").text
    assert reader.send("/sql/remove", {"name": "how many"}).status_code == 303
    assert reader.get("/sql?saved=how+many").status_code == 404


@pytest.mark.long
@pytest.mark.parametrize(("settings", "secure"), [("", False), ("secure_cookies: true\n", True)])
def test_a_token_is_shown_once_and_forgotten_on_leaving(tmp_path: Path, settings: str, secure: bool) -> None:
    from mechshift_core.service.root import Root
    from mechshift_core.service.tokens import Tokens

    with serving(tmp_path, settings=settings) as guarded, Reader(guarded) as reader:
        token = Tokens(Root(tmp_path)).create("ada")
        asked = reader.get("/findings?verdict=refuted")
        assert asked.status_code == 303 and asked.headers["location"] == "/login?next=%2Ffindings%3Fverdict%3Drefuted"
        login = reader.get(asked.headers["location"]).text
        assert 'value="/findings?verdict=refuted"' in login and "/findings</a>" not in login
        wrong = reader.send("/login", {"token": "mst_wrong"}, seen_on="/login")
        assert wrong.status_code == 401 and "knows no such token" in wrong.text
        right = reader.send("/login", {"token": f" {token} ", "next": "/findings?verdict=refuted"}, seen_on="/login")
        assert right.headers["location"] == "/findings?verdict=refuted"
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and ("secure" in cookie) == secure
        reader.http.headers["cookie"] = f"mechshift_token={token}"
        home = reader.get("/").text
        assert "<bdi>ada</bdi>" in home and token not in home
        assert reader.get("/login").headers["location"] == "/"
        left = reader.send("/logout", {})
        assert left.headers["location"] == "/login" and "max-age=0" in left.headers["set-cookie"].lower()
        del reader.http.headers["cookie"]
        reader.http.cookies.clear()
        assert reader.get("/").status_code == 303 and reader.get("/api/v1/runs").status_code == 401


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", ""])
def test_a_login_leads_nowhere_else(reader: Reader, elsewhere: str) -> None:
    assert reader.http.get("/login", params={"next": elsewhere}).headers["location"] == "/"


def test_times_and_addresses_in_words() -> None:
    said = [duration(seconds) for seconds in (0.2, 59, 61, 3600, 7512, 200000, None)]
    assert said == ["less than 1 s", "59 s", "1 min 1 s", "1 h", "2 h 5 min", "2 d 7 h", ""]
    assert (ago(None), ago("nonsense"), ago("2000-01-01T00:00:00Z")[-5:]) == ("", "", "d ago")
    assert query_of(a="1 2", b="", c=None, d=True) == "?a=1+2&d=1"
