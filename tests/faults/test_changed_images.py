"""An image that changed since a run is named by whatever reads the images again."""

import shutil
import zlib

import cv2
import pandas as pd
import pytest
from typer.testing import CliRunner

import train as script
from hemai.cli import app
from hemai.runs.saved_run import load_run
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.utils.errors import UserError
from tests.small_run import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, in a folder with its images."""
    base = tmp_path_factory.mktemp("changed")
    train(f"data.root={base / 'images'}", "data.cells=60", f"run_dir={base / 'run'}", "trainer.max_epochs=1")
    return base / "run"


@pytest.fixture
def image(trained):
    """One of its images, which is put back after the test."""
    path = pd.read_csv(trained / "splits.csv")["path"][7]
    file = trained.parent / "images" / path
    content = file.read_bytes()
    yield file
    file.write_bytes(content)


def change(image):
    """Write other pixels into a file, which keeps its name and size."""
    pixels = cv2.imread(str(image))
    cv2.imwrite(str(image), pixels[::-1])


def name(image, run):
    return image.relative_to(run.parent / "images").as_posix()


def resume(run):
    arguments = parse_arguments([f"resume={run}"])
    return script.train(compose(arguments), arguments)


def test_a_run_is_not_resumed_on_other_pixels(trained, image):
    change(image)
    with pytest.raises(UserError, match=f"1 image under .* changed since the run: {name(image, trained)}; restore"):
        resume(trained)


@pytest.mark.parametrize("verb", ["report", "evaluate"])
def test_a_run_is_not_reported_with_other_pixels(trained, image, tmp_path, verb):
    change(image)
    out = ["--out", str(tmp_path / "out")] if verb == "evaluate" else []
    done = CliRunner().invoke(app, [verb, str(trained), *out])
    assert done.exit_code == 2
    assert f"changed since the run: {name(image, trained)}; restore" in " ".join(done.output.split())


def test_a_copied_image_is_the_same_image(trained, image, tmp_path):
    shutil.move(image, tmp_path / "copy")
    shutil.copyfile(tmp_path / "copy", image)
    assert load_run(trained).data().table["path"].str.endswith(image.name).any()


def test_a_run_of_an_earlier_version_does_not_know_its_pixels(trained, image, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    table = pd.read_csv(run / "splits.csv", dtype=str)
    table.drop(columns="crc32").to_csv(run / "splits.csv", index=False)
    change(image)
    assert len(load_run(run).data().table) == len(table)


def test_the_splits_of_a_run_hold_the_crc_32_of_every_image(trained):
    table = pd.read_csv(trained / "splits.csv")
    for path, checksum in zip(table["path"], table["crc32"], strict=True):
        assert zlib.crc32((trained.parent / "images" / path).read_bytes()) == checksum
