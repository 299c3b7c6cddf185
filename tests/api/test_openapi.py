"""The API does what its OpenAPI document says, on requests made from that document."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from desk_of_sip import ODD_CALL_IDS, SipDesk
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from alerts.book import AlertBook
from alerts.event import FailureEvent
from api.server import create_app

BOOK = AlertBook()
BOOK.feed(FailureEvent(1, "192.0.2.9", None, "", "c", "h", ""), 1)
APP = create_app(
    SipDesk(list(ODD_CALL_IDS)),
    alerts=BOOK,
    importer=lambda path, keylog, again: {"file": path.name},
    version="0.0.test",
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_asgi("/openapi.json", APP)


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_answers_conform(case: Any) -> None:
    case.call_and_validate(checks=CHECKS)


@pytest.mark.parametrize("path", [path for path in APP.openapi()["paths"] if "{call_id}" in path])
def test_answers_about_a_known_call_conform(path: str) -> None:
    known = {name: "plain@192.0.2.1" for name in ("call_id", "other") if f"{{{name}}}" in path}
    case = schema[path]["GET"].Case(path_parameters=known)
    answer = case.call_and_validate(checks=CHECKS)
    assert answer.status_code == 200
