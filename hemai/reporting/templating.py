"""The templates of reports, filled so that names from outside stay text."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader

FENCE = re.compile(r"^ {0,3}(?=```)", re.MULTILINE)  # would end a block of code


def fill_template(template: str, /, **values: Any) -> str:
    """Fill a file of `templates/`; what is not marked as `safe` is escaped for HTML, or for Markdown."""
    is_html = template.endswith(".html")
    environment = Environment(
        loader=PackageLoader("hemai.reporting"),
        autoescape=is_html,
        finalize=None if is_html else escape_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = lambda text: FENCE.sub("    ", str(text))
    return environment.get_template(template).render(values)


def escape_markdown(value: Any) -> str:
    """Text on one line that Markdown takes neither for HTML, a link or emphasis, nor for the end of a cell.

    Backquotes and underscores stay: sentences use both.
    """
    if hasattr(value, "__html__"):  # marked as safe
        return value
    text = re.sub(r"\s*[\r\n]\s*", " ", str(value))
    text = re.sub(r"[\\*|]|(?<=\])[(\[]", r"\\\g<0>", text)
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
