"""`hemai app`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hemai.cli.options import Ensemble, Trust


def serve(
    run: Ensemble,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; without it the first free one from 7860")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other computers in, with a password")
    ] = "127.0.0.1",
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password; or set HEMAI_APP_PASSWORD. The user is hemai")
    ] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser")] = True,
    trust: Trust = False,
) -> None:
    """Open a local page: drop images, see classes, probabilities and where the network looks. Nothing is stored."""
    from hemai.app.server import check_address, check_installed, read_password
    from hemai.app.server import serve as serve_page

    check_installed()
    secret = read_password(host, password)
    check_address(host, port)

    from hemai.app.answers import Answerer
    from hemai.app.views import View
    from hemai.app.warm_up import warm_up
    from hemai.runs.ensemble import find_saved_runs

    view = View(Answerer(find_saved_runs([run], trust)))
    warm_up(view)

    def build() -> Any:
        from hemai.app.page import build_page  # Gradio reads its environment, which `serve_page` sets, on import

        return build_page(view)

    serve_page(build, host, port, browser, secret)
