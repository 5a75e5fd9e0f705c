"""The description of the interface is kept to: requests made up from it are answered as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import booleans
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from servers import Server, serving

LIMITS = "requests_per_minute: 1000000\nmost_queued: 20\nmost_bytes: 100000\n"
LEFT_OUT = ("/api/v1/runs/{name}/events",)
"""Streams, which end with their run."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("root"), settings=LIMITS) as found:
        name = found.submit("plain")
        found.until(name, "complete")
        yield found


@pytest.mark.long
def test_the_description_names_every_path_and_every_error(server: Server) -> None:
    document = server.http.get("/openapi.json").json()
    assert len(document["paths"]) > 25
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["description"] or operation["summary"], (method, path)
            assert {"400", "401", "404", "409", "422", "503"} <= operation["responses"].keys(), (method, path)
    assert json.dumps(document).count("ErrorAnswer") > 100


@pytest.mark.long
@pytest.mark.parametrize(
    "mode",
    [GenerationMode.POSITIVE, pytest.param(GenerationMode.NEGATIVE, marks=pytest.mark.long)],
    ids=["right", "wrong"],
)
def test_requests_made_up_from_the_description_are_answered_as_it_says(server: Server, mode: GenerationMode) -> None:
    document = server.http.get("/openapi.json").json()
    run = server.http.get("/runs").json()["runs"][0]["name"]
    schema = schemathesis.openapi.from_dict(document)
    failed, asked = [], 0
    session = requests.Session()

    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in LEFT_OUT:
            continue

        @EXAMPLES
        @given(case=operation.as_strategy(generation_mode=mode), there=booleans())
        def ask(case: schemathesis.Case, there: bool) -> None:
            nonlocal asked
            asked += 1
            if there and "name" in (case.path_parameters or {}) and case.path.startswith("/api/v1/runs"):
                if case.method == "DELETE":
                    return
                case.path_parameters["name"] = run
            case.call_and_validate(base_url=server.address, session=session, checks=CHECKS)

        try:
            ask()
        except Unsatisfiable:
            pass  # nothing can be wrong with a request that takes nothing
        except BaseException as error:
            failed.append(f"{operation.label}: {error!r}"[:2000])
    session.close()
    assert failed == [], "\n\n".join(failed)
    assert asked >= 50
    assert server.http.get(f"{server.address}/health").json()["trouble"] == ""
