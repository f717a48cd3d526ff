"""REST validated against its document by schemathesis, and cases that schemathesis does not cover."""

import copy
import json
import os
import socket as sockets
import subprocess
import sys
from http.client import HTTPResponse
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from documents import DOCS, OPENAPI
from support import HERE, TIMEOUT, Server

TOKEN = "a token of the test"
SECONDS = "12"


def test_document_is_valid_openapi():
    validate(OPENAPI)


def schemathesis(tmp_path, server, document, *options):
    """Runs schemathesis in a temporary directory, and fails with its findings."""
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document))
    program = Path(sys.executable).parent / "schemathesis"
    seed = os.environ.get("SCHEMATHESIS_SEED", "4000")
    command = [str(program), "run", str(path), "--url", server.url, "--checks", "all", "--continue-on-failure", "--seed", seed, *options]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    run = subprocess.run(command, cwd=tmp_path, env=env, text=True, capture_output=True, timeout=180)
    if run.returncode:
        pytest.fail(f"schemathesis found something (SCHEMATHESIS_SEED={seed})\n{run.stdout}\n{run.stderr}", pytrace=False)


@pytest.mark.long
def test_schemathesis_without_a_token(tmp_path):
    server = Server()
    try:
        schemathesis(tmp_path, server, OPENAPI, "--max-time", SECONDS)
    finally:
        server.stop()


@pytest.mark.long
def test_schemathesis_with_a_token(tmp_path):
    # With a token set, requests need it; in the document, which is for all servers, it is optional.
    document = copy.deepcopy(OPENAPI)
    for path in document["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and operation["security"]:
                operation["security"] = [{"bearer": []}]
    server = Server(API_TOKEN=TOKEN)
    try:
        schemathesis(tmp_path, server, document, "--max-time", SECONDS, "--header", f"Authorization: Bearer {TOKEN}")
    finally:
        server.stop()


def test_schemathesis_in_production(tmp_path):
    server = Server(NODE_ENV="production", SFU="off")
    try:
        schemathesis(tmp_path, server, OPENAPI, "--phases", "examples,coverage")
        status, _, body = server.rest("POST", "/api/rooms", {})
        assert (status, json.loads(body)["code"]) == (403, "FORBIDDEN")
    finally:
        server.stop()


def is_error(answer, status, code):
    assert (answer[0], answer[1]["Content-Type"], json.loads(answer[2])["code"]) == (status, "application/json", code), answer
    assert list(json.loads(answer[2])) == ["error", "code"]


@pytest.mark.parametrize("path, allow", [("/health", "GET,HEAD"), ("/healthz", "GET,HEAD"), ("/metrics", "GET,HEAD"), ("/api/rooms", "GET,HEAD,POST"), ("/api/rooms/x", "DELETE,GET,HEAD")])
def test_unsupported_method(server, path, allow):
    answer = server.rest("PUT", path)
    is_error(answer, 405, "METHOD_NOT_ALLOWED")
    assert sorted(answer[1]["Allow"].split(",")) == allow.split(",")


def test_id_that_is_not_utf_8(server):
    is_error(server.rest("GET", "/api/rooms/%FF"), 400, "INVALID_MESSAGE")


def test_oversized_body(server):
    is_error(server.rest("POST", "/api/rooms", {"roomId": "x" * 70_000}), 413, "PAYLOAD_TOO_LARGE")


def test_slow_body():
    server = Server(HANDSHAKE_TIMEOUT_SECONDS="1")
    try:
        address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        with sockets.create_connection(address, timeout=TIMEOUT) as connection:
            connection.sendall(b"POST /api/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{")
            answer = HTTPResponse(connection)
            answer.begin()
            is_error((answer.status, answer.headers, answer.read()), 408, "INVALID_MESSAGE")
        assert json.loads(server.rest("GET", "/api/rooms")[2]) == []
    finally:
        server.stop()


def test_metrics():
    server = Server()
    try:
        status, headers, body = server.rest("GET", "/metrics")
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert b"\nparlor_rooms 0\n" in body
    finally:
        server.stop()
    server = Server(METRICS_ADDR="127.0.0.1:0")
    try:
        is_error(server.rest("GET", "/metrics"), 404, "NOT_FOUND")
    finally:
        server.stop()
    server = Server(API_TOKEN=TOKEN)
    try:
        is_error(server.rest("GET", "/metrics"), 401, "UNAUTHORIZED")
        assert server.rest("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200
    finally:
        server.stop()


def test_too_many_rooms():
    server = Server(MAX_ROOMS="1")
    try:
        status, headers, _ = server.rest("POST", "/api/rooms", {"roomId": "a room"})
        assert (status, headers["Location"]) == (201, "/api/rooms/a%20room")
        is_error(server.rest("POST", "/api/rooms", {"roomId": "a room"}), 409, "ROOM_EXISTS")
        refused = server.rest("POST", "/api/rooms", {"roomId": "another"})
        is_error(refused, 503, "LIMIT_REACHED")
        assert int(refused[1]["Retry-After"]) > 0
    finally:
        server.stop()


def test_start_page_links_the_reference(server):
    for path, link in (("/docs", b"/docs/reference"), ("/docs/reference", b"/docs/reference.js")):
        status, headers, body = server.rest("GET", path)
        assert (status, headers.get_content_type()) == (200, "text/html")
        assert link in body, f"{path} does not link {link}"


@pytest.mark.parametrize("path, kind, file", [
    ("/docs/docs.css", "text/css", "site/docs.css"), ("/docs/reference.js", "text/javascript", "site/reference.js"),
    ("/docs/openapi.json", "application/json", "openapi.json"), ("/docs/asyncapi.json", "application/json", "asyncapi.json"),
])
def test_documents_are_served(server, path, kind, file):
    status, headers, body = server.rest("GET", path)
    assert (status, headers.get_content_type()) == (200, kind)
    assert body == (DOCS / file).read_bytes(), f"{path} is not docs/{file}"
