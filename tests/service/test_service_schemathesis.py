"""Requests that schemathesis draws from the OpenAPI document; answers are as that says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.service.conftest import Client

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
says = pytest.importorskip("schemathesis.specs.openapi.checks")

OPERATIONS = [
    ("/health", "get"),
    ("/map", "get"),
    ("/map/file", "get"),
    ("/map/patches", "get"),
    ("/map/patches/{name}", "get"),
    ("/metrics", "get"),
    ("/localize/geopose", "post"),
    ("/localize/sweep", "post"),
]
FEW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_are_as_the_document_says(client: Client, path: str, method: str) -> None:
    checks = [
        says.status_code_conformance,
        says.content_type_conformance,
        says.response_headers_conformance,
        says.response_schema_conformance,
    ]
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())

    @FEW
    @given(case=schema[path][method].as_strategy())
    def ask(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url="http://service")
        sent.pop("url"), sent.pop("cookies", None)
        body = {"content": sent.pop("data")} if "data" in sent else {}
        answer = client.ask(sent.pop("method"), case.formatted_path, **body, **sent)
        assert answer.status_code < 500 or answer.status_code == 501, answer.text[:500]
        case.validate_response(answer, checks=checks)

    ask()


def test_every_operation_is_asked(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {(path, method) for path, said in paths.items() for method in said} >= set(OPERATIONS)
