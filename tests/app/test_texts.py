"""Both languages say the same."""

import re
import string

import pytest

import train as script
from hemai.app.texts import LANGUAGES, TEXTS, choose_language

PACKAGE = script.CONFIGS.parent / "hemai" / "app"


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys_in_the_same_order():
    assert list(TEXTS) == list(LANGUAGES) == ["en", "fr"]
    assert list(TEXTS["en"]) == list(TEXTS["fr"])


@pytest.mark.parametrize("key", TEXTS["en"])
def test_a_text_has_the_same_fields_in_both_languages_and_differs(key):
    english, french = TEXTS["en"][key], TEXTS["fr"][key]
    assert fields(english) == fields(french)
    assert english.strip() and french.strip() and english != french


def test_every_text_is_used_and_every_used_text_exists():
    source = "\n".join(
        file.read_text(encoding="utf-8")
        for file in PACKAGE.rglob("*")
        if file.suffix in (".py", ".html", ".js") and file.name != "texts.py"
    )
    counted = {f"counted_{verdict}" for verdict in ("malignant", "benign", "unsure")}
    unused = [key for key in TEXTS["en"] if not re.search(rf"\b{key}\b", source) and key not in counted]
    assert unused == []
    named = set(re.findall(r"\bt\.(\w+)", source)) | set(re.findall(r'text\["(\w+)"\]', source))
    assert named <= TEXTS["en"].keys()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("fr-CH, fr;q=0.9, en;q=0.8", "fr"), ("en-GB", "en"), ("de-DE, fr;q=0.5", "fr"), ("zh-CN", "en"), ("", "en")],
)
def test_the_language_of_the_browser_is_taken_if_it_is_known(accepted, language):
    assert choose_language(accepted) == language
