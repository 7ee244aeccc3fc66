"""The description at /openapi.json: whole, and true of what is answered."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gym_loop.serve.openapi import description
from tests.serve.http_talk import Client, running


def found(value: Any, key: str) -> Iterator[Any]:
    """Every value of a key, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from found(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from found(inner, key)


@pytest.fixture(scope="module")
def document() -> Any:
    with running() as address, Client(address) as client:
        return client.ask("GET", "/openapi.json").json


def test_the_server_sends_the_description(document: Any) -> None:
    assert document == json.loads(json.dumps(description(with_token=False)))
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(document["info"])


def test_every_reference_leads_somewhere(document: Any) -> None:
    references = set(found(document, "$ref"))
    assert references
    for reference in references:
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_every_operation_is_complete(document: Any) -> None:
    names = list(found(document["paths"], "operationId"))
    assert len(names) == len(set(names)) == 18
    for path, item in document["paths"].items():
        declared = {
            one.get("name", "instance_id" if "$ref" in one else "")
            for one in item.get("parameters", [])
        }
        assert declared == set(re.findall(r"{(\w+)}", path))
        for method, operation in item.items():
            if method != "parameters":
                assert operation["summary"]
                assert len(operation["responses"]) > 1


def test_every_path_is_answered_and_no_other(document: Any) -> None:
    with running() as address, Client(address) as client:
        for path, item in document["paths"].items():
            target = path.replace("{instance_id}", "00000000").replace("{action}", "0")
            allowed = client.ask("OPTIONS", target).headers["allow"].split(", ")
            assert set(allowed) - {"HEAD", "OPTIONS"} == {
                method.upper() for method in item if method != "parameters"
            }


def test_a_token_is_described() -> None:
    document = description(with_token=True)
    assert document["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
