"""Random overrides and damaged bytes end in words: 2,300 tries, `pytest -m fuzz`."""

import shutil
from datetime import timedelta
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import train as script
from hemai.cli import app
from hemai.data.images import read_image
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose, defaults
from hemai.utils.boundary import exit_on_user_error
from tests.small_run import SMALL, train

pytestmark = pytest.mark.fuzz

KEYS = sorted(defaults([]))
WORDS = st.text(max_size=20) | st.sampled_from(
    ["", "null", "nan", "inf", "true", "[]", "{}", "[1,2]", "{a: 1}", "${x}"]
)
SMALL_NUMBERS = st.integers(-2, 9) | st.floats(-2, 2).map(lambda number: round(number, 2))
VALUES = WORDS | SMALL_NUMBERS.map(str)
VERBS = ("report", "evaluate", "predict", "compare", "resume")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder for what a random `data.root` draws."""
    monkeypatch.chdir(tmp_path)


def tries(count):
    """So many examples, each of which must end within a minute."""
    return settings(
        max_examples=count,
        deadline=timedelta(minutes=1),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@st.composite
def damages(draw):
    """What happens to a file: a function of its bytes."""
    kind = draw(st.sampled_from(["flip", "zero", "cut", "insert", "repeat", "swap"]))
    where, length = draw(st.floats(0, 1)), draw(st.integers(1, 64))
    inserted = draw(st.binary(max_size=40) | WORDS.map(lambda word: word.encode("utf-8", "replace")))

    def damage(content):
        start = int(where * len(content))
        before, piece, after = content[:start], content[start : start + length], content[start + length :]
        return {
            "flip": before + bytes(byte ^ 1 << length % 8 for byte in piece) + after,
            "zero": before + bytes(len(piece)) + after,
            "cut": before,
            "insert": before + inserted + piece + after,
            "repeat": before + piece * length + after,
            "swap": after + piece + before,
        }[kind]

    damage.__name__ = f"{kind} at {where:.3f}, {length} bytes, {inserted!r}"
    return damage


SEVERAL_DAMAGES = st.lists(damages(), min_size=1, max_size=3)


def damage(file, several):
    content = file.read_bytes()
    for each in several:
        content = each(content)
    file.write_bytes(content)


def ends_in_words(capsys, action):
    """Whether an action ends well, or with exit status 2 and one line that says why; anything else is raised."""
    capsys.readouterr()
    try:
        with exit_on_user_error():
            action()
    except SystemExit as stopped:
        return stopped.code == 0 or (stopped.code == 2 and "error: " in capsys.readouterr().err)
    return True


def verb_ends_in_words(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code == 0 or (done.exit_code == 2 and "rror" in done.stderr)


@tries(500)
@given(st.lists(st.tuples(st.sampled_from(KEYS) | WORDS, st.sampled_from(["=", "", "+", "~"]), VALUES), max_size=3))
def test_any_overrides_are_composed_or_refused(capsys, overrides):
    words = [key + sign + value if sign == "=" else sign + key + "=" + value for key, sign, value in overrides]
    assert ends_in_words(capsys, lambda: compose(parse_arguments(words)))


@tries(300)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=2))
def test_any_settings_train_or_are_refused(capsys, tmp_path_factory, overrides):
    words = [*SMALL, "data.cells=60", "trainer.max_epochs=1", f"run_dir={tmp_path_factory.mktemp('run') / 'run'}"]
    words += [f"{key}={value}" for key, value in overrides.items() if key not in ("run_dir", "resume")]

    def run():
        arguments = parse_arguments(words)
        script.train(compose(arguments), arguments)

    assert ends_in_words(capsys, run)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    root = tmp_path_factory.mktemp("listed")
    rng = np.random.default_rng(0)
    rows = ["path,label,group"]
    for patient in range(8):
        for image in range(3):
            rows.append(f"p{patient}_{image}.png,{'ab'[patient % 2]},{patient}")
            cv2.imwrite(str(root / f"p{patient}_{image}.png"), rng.integers(0, 256, (16, 16, 3), np.uint8))
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root


@tries(500)
@given(SEVERAL_DAMAGES)
def test_any_csv_is_read_or_refused(listed, several):
    shutil.copy(listed / "table.csv", listed / "damaged.csv")
    damage(listed / "damaged.csv", several)
    options = ("data=folder", f"data.root={listed}", f"data.csv={listed / 'damaged.csv'}", "transform=resize")
    assert verb_ends_in_words("prepare", *options, "model.image_size=16")


FORMATS = ("png", "jpg", "bmp", "tif", "webp")


@pytest.fixture(scope="module")
def encoded():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    contents = {}
    for name in FORMATS:
        done, content = cv2.imencode(f".{name}", pixels)
        assert done
        contents[name] = content.tobytes()
    buffer = BytesIO()
    Image.fromarray(pixels).convert("P").save(buffer, "gif")
    return contents | {"gif": buffer.getvalue()}


@tries(600)
@given(st.sampled_from([*FORMATS, "gif"]), SEVERAL_DAMAGES)
def test_any_image_is_decoded_or_refused(encoded, tmp_path, name, several):
    file = tmp_path / f"image.{name}"
    file.write_bytes(encoded[name])
    damage(file, several)
    try:
        image = read_image(file)
    except ValueError:  # as its docstring says
        return
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    train(f"run_dir={run}")
    return run


@tries(400)
@given(st.data(), st.sampled_from(VERBS), SEVERAL_DAMAGES)
def test_any_damaged_run_folder_is_read_or_refused(finished, tmp_path_factory, draw_image, capsys, data, verb, several):
    folder = tmp_path_factory.mktemp("damaged")
    run = shutil.copytree(finished, folder / "run")
    files = sorted(file for file in run.rglob("*") if file.is_file())
    damage(data.draw(st.sampled_from(files)), several)
    if verb == "resume":
        arguments = [f"resume={run}"]
        assert ends_in_words(capsys, lambda: script.train(compose(parse_arguments(arguments)), arguments))
    else:
        image, out = draw_image(folder / "cell.png"), folder / "out"
        words = {"report": [run], "predict": [run, image, "--out", f"{out}.csv"]}.get(verb, [run, "--out", out])
        assert verb_ends_in_words(verb, *words)
    shutil.rmtree(folder)


def test_the_settings_that_are_tried_are_those_of_a_training():
    assert {"data.batch_size", "model.image_size", "trainer.max_epochs", "seed"} <= set(KEYS)
