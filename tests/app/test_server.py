"""Who may reach the page, and that it refuses to keep or serve files."""

import asyncio
import socket

import pytest
from typer.testing import CliRunner

from hemai.app.server import Guard, is_local, read_password
from hemai.cli import app
from hemai.utils.errors import UserError


@pytest.fixture(autouse=True)
def no_password(monkeypatch):
    monkeypatch.delenv("HEMAI_APP_PASSWORD", raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_an_address_of_this_computer_needs_no_password(host):
    assert is_local(host)
    assert read_password(host, ask=False) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_an_address_that_others_reach_is_refused_without_a_password(host, run_folder):
    done = CliRunner().invoke(app, ["app", str(run_folder), "--host", host, "--no-browser"])
    assert done.exit_code == 2
    assert "HEMAI_APP_PASSWORD" in done.stderr


def test_the_password_comes_from_the_environment_or_the_keyboard(monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed secret")
    assert read_password("0.0.0.0", ask=True) == "typed secret"
    monkeypatch.setenv("HEMAI_APP_PASSWORD", "from environment")
    assert read_password("0.0.0.0", ask=False) == "from environment"


def test_a_short_password_is_refused(monkeypatch):
    monkeypatch.setenv("HEMAI_APP_PASSWORD", "1234")
    with pytest.raises(UserError, match="4 characters; expected 8 or more"):
        read_password("127.0.0.1", ask=False)


def test_no_option_takes_a_password_in_clear():
    help_text = CliRunner().invoke(app, ["app", "--help"], env={"COLUMNS": "200"}).stdout
    line = next(line for line in help_text.splitlines() if "--password" in line)
    assert "TEXT" not in line


def test_a_port_that_is_taken_is_told(run_folder):
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = CliRunner().invoke(app, ["app", str(run_folder), "--port", str(port), "--no-browser"])
    assert done.exit_code == 2, done.output
    assert "choose another with --port" in done.stderr


@pytest.mark.parametrize("host, told", [("::1", "IPv4"), ("127.0.0.1.", "not an address"), ("localhost..", "not an")])
def test_a_host_that_nothing_can_listen_on_is_told(run_folder, host, told, monkeypatch):
    pytest.importorskip("gradio")
    monkeypatch.setenv("HEMAI_APP_PASSWORD", "long enough")
    done = CliRunner().invoke(app, ["app", str(run_folder), "--host", host, "--no-browser"])
    assert done.exit_code == 2, done.output
    assert told in done.stderr and "GRADIO" not in done.stderr


def ask_guard(path, **headers):
    """Status and headers that the guard gives a request of a path, before an application that always agrees."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": named}
    sent = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    asyncio.run(Guard(application)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    "path", ["file=/etc/passwd", "file/etc/passwd", "upload", "stream/x/y/z", "process_recording", "deep_link"]
)
def test_no_file_can_be_left_or_fetched(path):
    pytest.importorskip("starlette")
    assert ask_guard(f"/gradio_api/{path}")[0] == 404


LINK = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"origin": "http://localhost:7860"}, 200),
        ({"origin": "https://cells.example.org", "x_forwarded_host": "cells.example.org"}, 200),
        ({"origin": "http://localhost:7860", "sec_fetch_site": "same-origin"}, 200),
        ({"origin": "http://localhost:8888", "sec_fetch_site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({**LINK, "sec_fetch_dest": "document"}, 200),
        ({**LINK, "sec_fetch_dest": "iframe"}, 403),
        ({**LINK, "sec_fetch_dest": "document", "origin": "https://evil.example"}, 403),  # a form
    ],
)
def test_only_its_own_page_is_answered(headers, status):
    pytest.importorskip("starlette")
    assert ask_guard("/gradio_api/component_server", host="localhost:7860", **headers)[0] == status


def test_a_page_may_load_nothing_from_elsewhere():
    pytest.importorskip("starlette")
    status, headers = ask_guard("/")
    assert status == 200
    assert headers[b"content-security-policy"].startswith(b"default-src 'self'")
    assert b"http" not in headers[b"content-security-policy"]
