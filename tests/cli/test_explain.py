import re
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from hemai.attribution import methods
from hemai.cli import app
from hemai.data.images import read_image
from tests.small_run import train

pytest.importorskip("captum")
METHODS = ["hires_cam", "integrated_gradients"]
REGIONS = ["nucleus", "cytoplasm", "background"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, with a folder of six of its images beside it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(f"run_dir={folder}", f"data.root={folder.parent / 'cells'}", "trainer.max_epochs=1")
    (folder.parent / "some" / "deeper").mkdir(parents=True)
    for number, file in enumerate(sorted((folder.parent / "cells").rglob("*.bmp"))[::25]):
        shutil.copy(file, folder.parent / "some" / ("deeper" if number % 2 else "") / file.name)
    return folder


@pytest.fixture(scope="module")
def cells(run):
    return run.parent / "some"


def explain(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def explained(run, cells, tmp_path_factory):
    out = tmp_path_factory.mktemp("explained") / "out"
    done = explain(run, cells, "--out", out)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def test_each_image_has_a_row_and_an_overlay_for_each_method(explained, cells, run):
    table = pd.read_csv(explained[0] / "attribution.csv")
    names = sorted(file.relative_to(cells).as_posix() for file in cells.rglob("*.bmp"))
    assert sorted(table["path"]) == sorted(names * 2)
    assert table["method"].tolist() == METHODS * len(names)
    assert table[REGIONS].sum(axis=1).to_numpy() == pytest.approx(1)
    assert table[[f"{region}_area" for region in REGIONS]].sum(axis=1).to_numpy() == pytest.approx(1)
    overlays = sorted(file.relative_to(explained[0] / "overlays").as_posix() for file in explained[0].rglob("*_*.png"))
    assert overlays == sorted(f"{name.removesuffix('.bmp')}_{method}.png" for name in names for method in METHODS)
    assert read_image(explained[0] / "overlays" / overlays[0]).shape == (48, 48, 3)


def test_predictions_are_those_of_hemai_predict(explained, run, cells, tmp_path):
    assert CliRunner().invoke(app, ["predict", str(run), str(cells), "--out", str(tmp_path / "p.csv")]).exit_code == 0
    predicted = pd.read_csv(tmp_path / "p.csv").set_index("path")
    for row in pd.read_csv(explained[0] / "attribution.csv").to_dict("records"):
        assert row["predicted"] == row["explained"] == predicted["predicted"][row["path"]]
        assert row["probability"] == pytest.approx(predicted[f"probability/{row['predicted']}"][row["path"]])


def test_the_table_of_regions_is_the_mean_over_images_and_is_shown(explained):
    table, summary = (pd.read_csv(explained[0] / name) for name in ("attribution.csv", "regions.csv"))
    for row in summary.to_dict("records"):
        part = table[(table["method"] == row["method"]) & (table["explained"] == row["class"])]
        part = part[part["background_area"] < 1]
        assert row["attribution"] == pytest.approx(part[row["region"]].mean())
        assert row["ratio"] == pytest.approx(part[row["region"]].mean() / part[f"{row['region']}_area"].mean())
        assert f"{row['ratio']:.2f}" in explained[1]


def test_the_page_needs_no_other_file(explained):
    page = (explained[0] / "explain.html").read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "not a medical device" in page
    assert page.count("<img ") == 6
    assert read_image(explained[0] / "sheet.png").size


def test_one_method_and_one_class_may_be_chosen(run, cells, tmp_path):
    out = tmp_path / "out"
    done = explain(run, cells, "--out", out, "--method", "hires_cam", "--class", "hem", "--most", 2)
    assert done.exit_code == 0, done.output
    table = pd.read_csv(out / "attribution.csv")
    assert set(table["explained"]) == {"hem"} and set(table["method"]) == {"hires_cam"}
    assert (out / "explain.html").read_text(encoding="utf-8").count("<img ") == 2


def test_unreadable_images_are_listed_after_the_others_are_done(run, cells, tmp_path):
    shutil.copytree(cells, tmp_path / "some")
    (tmp_path / "some" / "broken.png").write_bytes(b"no image")
    done = explain(run, tmp_path / "some", "--out", tmp_path / "out", "--method", "hires_cam")
    assert done.exit_code == 2
    assert "1 of 7 images could not be read:\n  broken.png: not an image" in done.stderr
    assert len(pd.read_csv(tmp_path / "out" / "attribution.csv")) == 6


@pytest.mark.parametrize("most", [1, 2])
def test_in_place_of_an_unreadable_image_the_next_is_shown(run, cells, tmp_path, most):
    shutil.copytree(cells, tmp_path / "some")
    for name in ("0.png", "00.png"):
        (tmp_path / "some" / name).write_bytes(b"no image")
    out = tmp_path / "out"
    done = explain(run, tmp_path / "some", "--out", out, "--method", "hires_cam", "--most", most)
    assert done.exit_code == 2 and "2 of 8 images could not be read" in done.stderr
    assert (out / "explain.html").read_text(encoding="utf-8").count("<img ") == most


def test_a_folder_that_holds_something_is_refused_without_overwrite(run, cells, tmp_path):
    (tmp_path / "kept.txt").write_text("mine", encoding="utf-8")
    arguments = (run, cells, "--out", tmp_path, "--method", "hires_cam")
    done = explain(*arguments)
    assert done.exit_code == 2 and "is not an empty folder" in done.stderr
    assert explain(*arguments, "--overwrite").exit_code == 0
    assert (tmp_path / "kept.txt").is_file() and (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--method", "hirescam"], "unknown method hirescam; expected hires_cam or integrated_gradients"),
        (["--class", "hemm"], "--class hemm: expected all or hem; did you mean 'hem'"),
        (["--most", "0"], "--most 0: expected 1 or more"),
    ],
)
def test_a_wrong_option_is_refused_before_the_work(run, cells, tmp_path, arguments, told):
    done = explain(run, cells, "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 2 and told in done.stderr
    assert not (tmp_path / "out").exists()


def test_several_runs_are_refused(run, cells, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(run, tmp_path / "runs" / name)
    done = explain(tmp_path / "runs", cells, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "holds 2 runs" in done.stderr and "one by one" in done.stderr


def test_without_captum_the_extra_is_named(run, cells, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    done = explain(run, cells, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "pip install 'hemai[explain]'" in done.stderr
