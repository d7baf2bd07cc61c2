"""The page as HTML: answers in, words and pictures out; nothing here knows Gradio."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from scipy.special import expit, logit

from hemai.app.answers import Answer, Answerer, answers_table
from hemai.app.pictures import LARGE_PX, SMALL_PX, draw_stages, to_url, url_of_jpeg
from hemai.app.texts import TEXTS
from hemai.app.uploads import cut
from hemai.data.image_files import MAX_MEGAPIXELS, decode_bytes
from hemai.runs.ensemble import describe_networks
from hemai.runs.exported_folder import CARD, is_exported
from hemai.transforms import SegmentNucleus
from hemai.utils.files import csv_text

CALIBRATED = "calibrated_probability"  # column of `hemai predict`; without it nothing was fitted
VERDICTS = ("malignant", "benign", "unsure")


@dataclass(frozen=True)
class View:
    """The parts of the page for one network, in any language.

    Attributes:
        answerer: The network.
    """

    answerer: Answerer

    def header(self, language: str) -> str:
        """Name of the network, what it distinguishes, and that it is for research only."""
        answerer = self.answerer
        point = answerer.metadata if answerer.point is None else asdict(answerer.point)
        threshold = point.get("threshold")
        return self._fill(
            "header.html",
            language,
            network=describe_networks(answerer.runs),
            data=answerer.metadata["data"],
            classes=answerer.models[0].classes,
            positive=answerer.models[0].positive,
            threshold=None if threshold is None else percent(self._calibrated(threshold), language),
            rule=point.get("threshold_rule"),
            knows_looks=answerer.appearance is not None,
        )

    def _calibrated(self, threshold: float) -> float:
        """The threshold on the scale of the probabilities that are shown."""
        temperature = self.answerer.metadata.get("temperature")
        is_scaled = temperature and len(self.answerer.models) == 1 and len(self.answerer.models[0].classes) == 2
        return float(expit(logit(threshold) / temperature)) if is_scaled else threshold

    def zone(self, language: str) -> str:
        """Where images are dropped."""
        return self._fill("zone.html", language)

    def reading_note(self, language: str) -> str:
        """What the automatic choice between whole images and cells does for this network, and why."""
        text, known = TEXTS[language], self.answerer.appearance
        if known is None:
            return text["auto_unknown"]
        key = "auto_cells" if self.answerer.reads_cells else "auto_whole"
        return text[key].format(nuclei=f"{known['nuclei']:g}")

    def progress(self, language: str, done: int, total: int) -> str:
        """How many files have their answers."""
        return self._fill("progress.html", language, done=done, total=total)

    def results(self, language: str, answers: Sequence[Answer], chosen: int | None) -> str:
        """Summary, list of answers, and their table as csv."""
        counts = [(f"counted_{key}", sum(answer.verdict == key for answer in answers)) for key in VERDICTS]
        counts.append(("counted_unlike", sum(answer.unlike is True for answer in answers)))
        counts.append(("counted_problem", sum(bool(answer.problem) for answer in answers)))
        return self._fill(
            "results.html",
            language,
            answers=answers,
            chosen=chosen,
            counts=[("total", len(answers)), *((key, count) for key, count in counts if count)],
            csv=base64.b64encode(csv_text(answers_table(answers)).encode()).decode() if answers else "",
            megapixels=MAX_MEGAPIXELS,
        )

    def details(self, language: str, answers: Sequence[Answer], chosen: int | None) -> str:
        """Pictures of the chosen answer; empty without one."""
        answer = None if chosen is None else answers[chosen]
        if answer is None or not answer.thumbnail:
            return ""
        whole = decode_bytes(answer.upload.content).image
        image = cut(whole, answer.box, self.answerer.side)
        seen = self.answerer.attribute(image, self.label(answer)) if answer.values else None
        views = {"view_image": image} | ({} if seen is None else {"view_attribution": seen}) | draw_stages(image)
        values = {name: value for name, value in answer.values.items() if name.startswith("probability/")}
        steps = self.answerer.metadata["prepare"]["transform"].get("transforms", [])
        is_segmented = any(SegmentNucleus.__name__ in step["__class_fullname__"] for step in steps)
        return self._fill(
            "details.html",
            language,
            answer=answer,
            smear=to_url(whole, LARGE_PX) if answer.box else "",
            views={key: to_url(view, SMALL_PX) for key, view in views.items()},
            cells=[(place, each) for place, each in enumerate(answers) if each.upload is answer.upload and each.box],
            font=max(8, round(0.035 * max(answer.size))),
            raw=", ".join(f"{name.split('/', 1)[1]} {percent(value, language)}" for name, value in values.items()),
            segmentation=TEXTS[language]["segmentation_used" if is_segmented else "segmentation_note"],
        )

    def card(self, language: str) -> str:
        """Model card of the run, or of the exported folder, as Markdown."""
        run = self.answerer.runs[0]
        file = None if run.folder is None else run.folder.folder / "model_card.md"
        if is_exported(run.local):
            file = run.local / CARD
        if file is None or not file.is_file():
            return TEXTS[language]["no_card"]
        return file.read_text("utf-8").split("\n---\n", 1)[-1]  # without the fields of the Hugging Face Hub

    def probability(self, answer: Answer) -> tuple[str, float]:
        """Key of the text that names the probability of an answer, and the probability."""
        values, positive = answer.values, self.answerer.models[0].positive
        if CALIBRATED in values:
            return "probability_calibrated", float(values[CALIBRATED])
        if positive:
            return "probability_raw", float(np.sum([values[f"probability/{label}"] for label in positive]))
        return "probability_class", float(values[f"probability/{values['predicted']}"])

    def label(self, answer: Answer) -> str:
        """Class that is shown: of two classes that of the threshold, so that class and verdict agree."""
        model = self.answerer.models[0]
        if answer.verdict in ("malignant", "benign") and len(model.classes) == 2:
            return next(each for each in model.classes if (each in model.positive) == (answer.verdict == "malignant"))
        return str(answer.values["predicted"])

    def conflict(self, answer: Answer) -> str:
        """Key of the text that says why the verdict is not that of the most probable class; empty if it is."""
        verdict = "malignant" if answer.values["predicted"] in self.answerer.models[0].positive else "benign"
        if answer.verdict in ("", "unsure", verdict):
            return ""
        return "above_threshold" if answer.verdict == "malignant" else "below_threshold"

    def _fill(self, template: str, language: str, **values: Any) -> str:
        environment = Environment(
            loader=PackageLoader("hemai.app"), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {"jpeg": url_of_jpeg, "probability": self.probability, "percent": percent}
        environment.filters |= {"label": self.label, "conflict": self.conflict}
        return environment.get_template(template).render(t=TEXTS[language], language=language, **values)


def percent(share: float, language: str) -> str:
    """A fraction in percent with one decimal, as the language writes it; never 0 or 100 for what is neither."""
    text = f"{min(max(100 * share, 0.1), 99.9):.1f}" if 0 < share < 1 else f"{100 * share:.0f}"
    return f"{text.replace('.', ',') if language == 'fr' else text}\N{NO-BREAK SPACE}%"
