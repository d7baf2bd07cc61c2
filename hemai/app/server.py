"""Serve the page: on this computer, to others only with a password. It writes no file and asks no other server."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from importlib.resources import files
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any

from hemai.app.texts import TEXTS
from hemai.utils.errors import UserError
from hemai.utils.terminal import say

PASSWORD_VARIABLE, USER, SHORTEST = "HEMAI_APP_PASSWORD", "hemai", 8
# Files that Gradio would keep and serve: the page sends and shows all images without them.
PATHS = ("upload", "file=", "file/", "stream", "runs", "process_recording", "deep_link")
REFUSED = (*(f"/gradio_api/{path}" for path in PATHS), "/monitoring")
FOREIGN = "refused: another page asked for this; type the address of hemai app into the browser"
HEADERS = {  # a browser then loads nothing from elsewhere, whatever Gradio's pages name
    b"content-security-policy": b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    b"frame-ancestors 'none'; form-action 'self'; base-uri 'self'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}


class Guard:
    """ASGI middleware: refuse the paths of files and what other pages ask; the browser loads nothing from elsewhere."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or pass it on."""
        from starlette.responses import PlainTextResponse

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], *HEADERS.items()]}
            await send(message)

        answer = self.app
        if scope["type"] == "http" and scope["path"].startswith(REFUSED):
            answer = PlainTextResponse("not found", 404)
        elif scope["type"] == "http" and is_foreign(dict(scope["headers"])):
            answer = PlainTextResponse(FOREIGN, 403)
        await answer(scope, receive, send_guarded)


def is_foreign(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser says that the page of another site, or of another port, sent a request.

    A browser lets any page post plain text to any address; it names that page in these headers.
    """
    hosts = [headers[name] for name in (b"host", b"x-forwarded-host") if name in headers]  # the latter by a proxy
    own = [scheme + host for scheme in (b"http://", b"https://") for host in hosts]
    if b"origin" in headers and headers[b"origin"] not in own:  # in every post, also of a form
        return True
    is_link = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
    return headers.get(b"sec-fetch-site") == b"cross-site" and not is_link


def read_password(host: str, ask: bool) -> str | None:
    """Password of the page, from the environment or the keyboard; never from the command line, which others can see.

    Raises:
        UserError: None for a page that other computers can reach, or a short one.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None and ask:
        from getpass import getpass

        password = getpass(f"Password for the user {USER}: ")
    if password is None and not is_local(host):
        raise UserError(
            f"--host {host}: others could reach the page and its images; expected a password: set "
            f"{PASSWORD_VARIABLE}, or add --password to be asked for one"
        )
    if password is not None and len(password) < SHORTEST:
        raise UserError(f"the password has {len(password)} characters; expected {SHORTEST} or more")
    return password


def is_local(host: str) -> bool:
    """Whether only this computer reaches an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, port: int | None) -> None:
    """Fail early if nothing can listen on an address.

    Raises:
        UserError: An IPv6 address, one that is not of this computer, or a port that is taken.
    """
    if ":" in host:
        raise UserError(f"--host {host}: expected a name or an IPv4 address, such as 127.0.0.1, not one of IPv6")
    try:
        socket.create_server((host, 0)).close()
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"--host {host}: not an address of this computer ({error}); use 127.0.0.1, or 0.0.0.0 to let others in"
        ) from error
    try:
        socket.create_server((host, port or 0)).close()
    except OSError as error:
        raise UserError(f"--port {port}: cannot listen on it ({error}); choose another with --port") from error


def check_installed() -> None:
    """Refuse to go on without Gradio.

    Raises:
        UserError: It is not installed.
    """
    if find_spec("gradio") is None:
        raise UserError("the page needs gradio; install it: pip install 'hemai[app]'")


def serve(build: Callable[[], Any], host: str, port: int | None, browser: bool, password: str | None) -> None:
    """Serve a page until the program is stopped.

    Args:
        build: Builds the page, a `gradio.Blocks`.
        host: Address to listen on.
        port: Port; None: the first free one from 7860.
        browser: Open the page in a browser.
        password: Password of the user "hemai"; None: no login.

    Raises:
        UserError: The port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="hemai-app-") as folder:  # Gradio makes an empty folder in it
        direct = [os.environ.get("no_proxy"), os.environ.get("NO_PROXY"), "localhost", host]  # Gradio asks itself
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        os.environ["no_proxy"] = ",".join(filter(None, direct))
        page = build()
        launch(page, host, port, browser, password)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("stopped; no image was kept")
        finally:
            page.close(verbose=False)


def launch(page: Any, host: str, port: int | None, browser: bool, password: str | None) -> None:
    """Start to serve a page in the background; see `serve`."""
    import gradio as gr
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    middleware = [Middleware(Guard)]
    if is_local(host) and ":" not in host:  # no page of the internet may name itself like this computer
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", host]))
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    try:
        page.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            auth=None if password is None else (USER, password),
            auth_message=TEXTS["en"]["login"] + "<br>" + TEXTS["fr"]["login"],
            share=False,
            quiet=True,
            _frontend=False,  # not Gradio's test, within 3 s, whether it reaches itself
            prevent_thread_lock=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            state_session_capacity=50,
            app_kwargs={"middleware": middleware},
            theme=gr.themes.Default(**fonts),  # type: ignore[arg-type]
            css=(files("hemai.app") / "templates" / "page.css").read_text("utf-8"),
        )
    except OSError as error:
        raise UserError(f"no free port on {host}; choose another with --port") from error
    say(f"ready: {page.local_url}", "Ctrl-C stops it.")
    sys.stdout.flush()  # also into a pipe
