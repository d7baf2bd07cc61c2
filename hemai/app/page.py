"""The page in Gradio: which event calls what. Pictures and tables are part of the HTML, so that none becomes a file."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import gradio as gr

from hemai.app.answers import READINGS, Answer
from hemai.app.texts import LANGUAGES, TEXTS, choose_language
from hemai.app.uploads import Mailbox, Upload
from hemai.app.views import View

FORGOTTEN_S = 3600  # after the last answer to a session
TEMPLATES = files("hemai.app") / "templates"


class Session:
    """What one user sees; Gradio keeps it in memory, apart from those of others."""

    def __init__(self, uploads: list[Upload]) -> None:
        self.uploads, self.answers = uploads, list[Answer]()
        self.chosen: int | None = None


def build_page(view: View) -> gr.Blocks:
    """Build the page of a network."""
    mailbox = Mailbox()

    def receive(message: Any) -> bool:
        if not (isinstance(message, list) and len(message) == 3 and all(isinstance(part, str) for part in message)):
            return False
        number, name, content = message
        try:
            return mailbox.put(number, Upload(name, base64.b64decode(content, validate=True)))
        except ValueError:  # not base64, or not even ASCII
            return False

    def choices(language: str) -> list[tuple[str, str]]:
        return [(TEXTS[language][reading], reading) for reading in READINGS]

    def show(language: str, session: Session | None) -> tuple[str, str]:
        seen = ([], None) if session is None else (session.answers, session.chosen)
        return view.results(language, *seen), view.details(language, *seen)

    def translate(language: str, session: Session | None) -> list[Any]:
        text = TEXTS[language]
        return [
            view.header(language),
            view.zone(language),
            gr.update(choices=choices(language), label=text["reading"], info=view.reading_note(language)),
            gr.update(value=text["stop"]),
            gr.update(label=text["card"]),
            view.card(language),
            *show(language, session),
        ]

    def answer(language: str, reading: str, session: Session | None, event: gr.EventData) -> Iterator[Any]:
        number = (event._data or {}).get("number") if isinstance(event._data, dict) else None
        uploads = mailbox.collect(number) if number else session.uploads if session else []
        session, total = Session(uploads), len(uploads)
        places = {id(upload): place for place, upload in enumerate(uploads, 1)}
        yield session, view.progress(language, 0, total), gr.update(visible=True), "", ""
        for some in view.answerer.answer(uploads, reading):
            session.answers.extend(some)
            done = places[id(some[-1].upload)]
            yield session, view.progress(language, done, total), gr.skip(), gr.skip(), gr.skip()
        session.chosen = next((place for place, each in enumerate(session.answers) if each.values), None)
        yield session, "", gr.update(visible=False), *show(language, session)

    def choose(language: str, session: Session | None, event: gr.EventData) -> tuple[Session | None, str]:
        if session is None:  # forgotten meanwhile
            return None, ""
        session.chosen = min(max(int(event._data["item"]), 0), len(session.answers) - 1)
        return session, view.details(language, session.answers, session.chosen)

    script = (TEMPLATES / "choose.js").read_text("utf-8")
    with gr.Blocks(title="hemai", analytics_enabled=False) as page:
        session = gr.State(time_to_live=FORGOTTEN_S)
        language = gr.Radio(
            [(name, key) for key, name in LANGUAGES.items()], value="en", label="Language / Langue", elem_id="language"
        )
        header = gr.HTML(view.header("en"), elem_id="header")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                zone = gr.HTML(
                    view.zone("en"),
                    js_on_load=(TEMPLATES / "zone.js").read_text("utf-8"),
                    server_functions=[receive],
                    elem_id="zone",
                )
                reading = gr.Radio(
                    choices("en"),
                    value="auto",
                    label=TEXTS["en"]["reading"],
                    info=view.reading_note("en"),
                    elem_id="reading",
                )
                status = gr.HTML("", elem_id="status")
                stop = gr.Button(TEXTS["en"]["stop"], visible=False, elem_id="stop")
                results = gr.HTML(view.results("en", [], None), js_on_load=script, elem_id="results")
            with gr.Column(scale=3, min_width=320):
                details = gr.HTML("", js_on_load=script, elem_id="details")
        with gr.Accordion(TEXTS["en"]["card"], open=False) as card:
            card_text = gr.Markdown(view.card("en"))

        shown = [results, details]
        parts = [header, zone, reading, stop, card, card_text, *shown]
        language.change(translate, [language, session], parts, show_progress="hidden", api_visibility="private")
        language.change(None, language, None, js="(language) => { document.documentElement.lang = language; }")
        page.load(detect_language, None, language, show_progress="hidden", api_visibility="private")
        answering = [
            event(
                answer,
                [language, reading, session],
                [session, status, stop, *shown],
                show_progress="hidden",
                trigger_mode="always_last",
                concurrency_limit=8,  # they take turns, see Answerer
                api_visibility="private",
            )
            for event in (zone.sent, reading.input)
        ]
        stop.click(
            lambda: ("", gr.update(visible=False)),
            None,
            [status, stop],
            cancels=answering,
            show_progress="hidden",
            api_visibility="private",
        ).then(show, [language, session], shown, show_progress="hidden", api_visibility="private")
        for part in shown:
            part.choose(
                choose, [language, session], [session, details], show_progress="hidden", api_visibility="private"
            )
    return page


def detect_language(request: gr.Request) -> str:
    """Language of the browser, if it is one of ours."""
    return choose_language(request.headers.get("accept-language", ""))
