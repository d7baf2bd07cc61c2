import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special
from typer.testing import CliRunner

from hemai.cli import app
from hemai.transforms import ImagePipeline
from tests.small_run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, with its images beside it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(f"run_dir={folder}", f"data.root={folder.parent / 'cells'}", "trainer.max_epochs=1")
    return folder


@pytest.fixture(scope="module")
def cells(run):
    return run.parent / "cells"


@pytest.fixture(scope="module")
def tested(run):
    return pd.read_csv(run / "predictions_test.csv").set_index("path")


def changed(run, place, change):
    """A run folder with another checkpoint."""
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    change(content)
    (place / "checkpoints").mkdir(parents=True)
    torch.save(content, place / "checkpoints" / "best.ckpt")
    return place


def add(logit, threshold, times=1):
    """More logit for the first class, all logits so many times as large, and another threshold."""

    def change(content):
        content["state_dict"]["backbone.fc2.bias"][0] += logit
        for name in ("weight", "bias"):
            content["state_dict"][f"backbone.fc2.{name}"] *= times
        content["hyper_parameters"]["metadata"]["threshold"] = threshold

    return change


def predict(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], env={"COLUMNS": "200"})


def predicted(*arguments, out):
    done = predict(*arguments, "--out", out)
    assert done.exit_code == 0, done.output
    return pd.read_csv(out).set_index("path"), done.stdout


def test_images_of_a_run_are_called_as_in_its_test_and_nothing_is_cached(run, cells, tested, tmp_path, cache_folder):
    table, _ = predicted(run, cells, out=tmp_path / "new" / "folder" / "calls.csv")
    assert len(table) == 150
    own = table.loc[tested.index]
    for column in ("probability/all", "probability/hem"):
        assert (own[column] - tested[column]).abs().max() < 1e-6
    assert own["predicted"].tolist() == tested["predicted"].tolist()
    assert [file.name for file in (tmp_path / "new" / "folder").iterdir()] == ["calls.csv"]
    assert not cache_folder.exists()


def test_malignant_is_called_at_one_half_and_at_the_threshold_of_the_checkpoint(run, cells, tested, tmp_path):
    middle = (tested["logit/hem"] - tested["logit/all"]).median()  # after one epoch all are called the same
    other = changed(run, tmp_path / "other", add(middle, 0.52, times=200))
    table, told = predicted(other / "checkpoints" / "best.ckpt", cells, out=tmp_path / "calls.csv")
    assert list(table) == [
        "predicted", "malignant", "malignant_at_threshold", "probability/all", "probability/hem",
        "calibrated_probability", "abstained", "error",
    ]  # fmt: skip
    at_half, at_threshold = (table["probability/all"] >= threshold for threshold in (0.5, 0.52))
    assert 0 < at_threshold.sum() < at_half.sum() < 150
    assert (table["malignant"] == "yes").tolist() == at_half.tolist()
    assert (table["malignant_at_threshold"] == "yes").tolist() == at_threshold.tolist()
    assert set(table["malignant"]) == {"yes", "no"}
    assert (table["predicted"] == np.where(at_half, "all", "hem")).all()
    counted = [line.split()[-2] for line in told.splitlines() if "malignant (probability" in line]
    assert counted == [str(at_half.sum()), str(at_threshold.sum())]
    assert "Threshold 0.520; rule: sensitivity 0.95 on validation" in told
    assert "Research software, not a medical device" in told


def test_without_a_threshold_or_positive_classes_those_columns_are_missing(run, cells, tmp_path):
    image = next(cells.rglob("*.bmp"))
    unset = changed(run, tmp_path / "unset", add(0, None))
    assert "malignant_at_threshold" not in predicted(unset, image, out=tmp_path / "1.csv")[0]

    def no_positive(content):
        content["hyper_parameters"]["positive"] = []

    table, _ = predicted(changed(run, tmp_path / "kinds", no_positive), image, out=tmp_path / "2.csv")
    assert list(table) == ["predicted", "probability/all", "probability/hem", "abstained", "error"]
    assert table.index.tolist() == [image.name]


def test_runs_below_a_folder_answer_together_by_their_mean(run, cells, tested, tmp_path):
    for name, logit, threshold in (("a", 0.0, 0.3), ("b", 2.0, 0.9)):
        changed(run, tmp_path / "folds" / name, add(logit, threshold))
    table, told = predicted(tmp_path / "folds", cells, out=tmp_path / "calls.csv")
    gaps = tested["logit/all"] - tested["logit/hem"]
    mean = (1 / (1 + np.exp(-gaps)) + 1 / (1 + np.exp(-gaps - 2))) / 2
    assert (table.loc[tested.index, "probability/all"] - mean).abs().max() < 1e-6
    assert "Threshold 0.600, the mean of 2 networks" in told
    assert "custom_cnn, 2 runs" in told


def test_a_stated_prevalence_multiplies_the_odds_and_moves_the_threshold_with_them(run, cells, tested, tmp_path):
    table, told = predicted(run, cells, "--prevalence", 0.05, out=tmp_path / "calls.csv")
    plain, _ = predicted(run, cells, out=tmp_path / "plain.csv")
    labels = pd.read_csv(run / "splits.csv").query("split == 'train'")["label"]
    factor = (0.05 / 0.95) / ((labels == "all").sum() / (labels == "hem").sum())
    odds = [part["probability/all"] / part["probability/hem"] for part in (table, plain)]
    assert odds[0].to_numpy() == pytest.approx(odds[1].to_numpy() * factor)
    assert table["malignant_at_threshold"].equals(plain["malignant_at_threshold"])
    assert f"in training, {(labels == 'all').mean():.3f}, to 0.05 (Saerens et al. 2002)" in told


def test_the_temperature_and_the_abstention_of_the_checkpoint_are_applied(run, cells, tmp_path):
    plain, _ = predicted(run, cells, out=tmp_path / "plain.csv")
    halved = special.expit(special.logit(plain["probability/all"]) / 2)
    least = float(np.maximum(halved, 1 - halved).median())
    point = {"temperature": 2.0, "abstain_below": least}
    other = changed(run, tmp_path / "other", lambda c: c["hyper_parameters"]["metadata"].update(point))
    table, told = predicted(other, cells, out=tmp_path / "calls.csv")
    assert table["calibrated_probability"].to_numpy() == pytest.approx(halved.to_numpy(), abs=1e-6)
    expected = np.maximum(halved, 1 - halved) < least
    assert 0 < expected.sum() < 150
    assert (table["abstained"] == "yes").tolist() == expected.tolist()
    assert [line.split()[-2] for line in told.splitlines() if "abstained" in line] == [str(expected.sum())]


def test_an_older_checkpoint_without_the_rule_has_no_column_of_abstention(run, cells, tmp_path):
    other = changed(run, tmp_path / "old", lambda c: c["hyper_parameters"]["metadata"].pop("abstain_below"))
    assert "abstained" not in predicted(other, next(cells.rglob("*.bmp")), out=tmp_path / "calls.csv")[0]


def test_unreadable_images_are_told_in_the_table_and_by_the_exit_status_and_change_no_other(run, cells, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, file in enumerate(sorted(cells.rglob("*.bmp"))[:20]):
        shutil.copy(file, folder / f"{number:02}.bmp")
    before, _ = predicted(run, folder, out=tmp_path / "before.csv")
    (folder / "02.bmp").write_bytes(b"")
    (folder / "17.bmp").write_text("no picture")
    done = predict(run, folder, "--out", tmp_path / "calls.csv")
    assert done.exit_code == 3
    assert "2 of 20 images are unreadable" in done.stdout
    assert "02.bmp: the file is empty; 17.bmp: not an image" in done.stdout
    table = pd.read_csv(tmp_path / "calls.csv").set_index("path")
    assert table["error"].notna().sum() == 2 and table.loc["02.bmp", "error"] == "the file is empty"
    assert table.loc[["02.bmp", "17.bmp"]].drop(columns="error").isna().all(axis=None)
    readable = table.index.difference(["02.bmp", "17.bmp"])
    assert table.loc[readable].drop(columns="error").equals(before.loc[readable].drop(columns="error"))


def test_the_table_of_groups_counts_the_images_of_each_by_hand(run, cells, tmp_path):
    out = tmp_path / "calls.csv"
    table, told = predicted(run, cells, "--pattern", r"UID_(H?\d+)_", out=out)
    groups = pd.read_csv(tmp_path / "calls_groups.csv").set_index("group")
    assert len(groups) == table["group"].nunique() > 1
    assert groups["images"].to_dict() == table["group"].value_counts().to_dict()
    for name, of_group in table.groupby("group"):
        at_threshold = (of_group["malignant_at_threshold"] == "yes").mean()
        assert groups.loc[name, "called_malignant_at_threshold"] == pytest.approx(at_threshold)
        assert groups.loc[name, "mean_probability"] == pytest.approx(of_group["probability/all"].mean())
        assert groups.loc[name, "abstained"] == (of_group["abstained"] == "yes").sum()
        assert (groups.loc[name, "majority_at_threshold"] == "yes") == (at_threshold >= 0.5)
    assert f"{len(groups)} groups" in told


def test_a_csv_names_images_and_groups_and_every_format_holds_the_same_cells(run, cells, tmp_path):
    files = sorted(cells.rglob("*.bmp"))[:3]
    (tmp_path / "list").mkdir()
    shutil.copy(files[0], tmp_path / "list" / "=a.bmp")  # a spreadsheet would run it
    rows = pd.DataFrame({"path": ["=a.bmp", str(files[1]), "nowhere.png"], "group": ["p", "q", "q"]})
    rows.to_csv(tmp_path / "list" / "images.csv", index=False)
    tables = {}
    for suffix, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet), (".xlsx", pd.read_excel)):
        pytest.importorskip({".parquet": "pyarrow", ".xlsx": "openpyxl"}.get(suffix, "pandas"))
        done = predict(run, tmp_path / "list" / "images.csv", "--out", tmp_path / f"calls{suffix}")
        assert done.exit_code == 3, done.output
        assert read(tmp_path / f"calls_groups{suffix}")["images"].tolist() == [1, 2]
        tables[suffix] = read(tmp_path / f"calls{suffix}").fillna("").replace("'=a.bmp", "=a.bmp")
    assert tables[".csv"]["path"].tolist() == rows["path"].tolist()
    assert tables[".csv"]["error"].tolist() == ["", "", "No such file or directory"]
    for suffix in (".parquet", ".xlsx"):
        pd.testing.assert_frame_equal(tables[suffix], tables[".csv"], check_dtype=False, rtol=1e-15)


def test_an_output_is_replaced_only_on_demand(run, cells, tmp_path):
    out, image = tmp_path / "calls.csv", next(cells.rglob("*.bmp"))
    out.write_text("mine", encoding="utf-8")
    assert "add --overwrite" in predict(run, image, "--out", out).stderr
    assert out.read_text(encoding="utf-8") == "mine"
    assert len(predicted(run, image, "--overwrite", out=out)[0]) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["calls.csv"]


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["{run}", "{cells}", "--out", "{run}/metrics.csv"], "already exists; choose another"),
        (["{run}", "{cells}", "--out", "{run}"], "expected .csv, .parquet or .xlsx"),
        (["{run}", "{cells}", "--pattern", "P"], "no part in parentheses"),
        (["{run}", "{cells}", "--pattern", "(nobody)"], "finds no group in 150 of 150 names"),
        (["{run}", "{run}/splits.csv"], "none of its 150 paths exists"),
        (["{run}", "{run}/metrics.csv"], "no column path"),
        (["{run}", "{run}/splits.csv", "{cells}"], "give one csv file, and nothing else"),
        (["{run}", "{cells}", "--out", "{run}/result.json/calls.csv"], "is not a writable folder"),
        (["{tmp}/nowhere", "{cells}"], "no checkpoint at"),
        (["{run}/result.json", "{cells}"], "result.json"),
        (["{run}", "{cells}", "--prevalence", "1"], "above 0 and below 1"),
        (["{run}", "{tmp}/nowhere"], "no image at"),
        (["{run}", "{run}", "{cells}"], "for an ensemble pass the parent folder of the runs"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(run, cells, tmp_path, arguments, told):
    before = sorted(run.rglob("*"))
    arguments = [argument.format(run=run, cells=cells, tmp=tmp_path) for argument in arguments]
    done = predict(*arguments, *([] if "--out" in arguments else ["--out", tmp_path / "out" / "calls.csv"]))
    assert done.exit_code == 2, done.output
    assert told in " ".join(done.stderr.split())
    assert sorted(run.rglob("*")) == before
    assert not (tmp_path / "out").exists()


def test_images_of_a_size_that_the_network_cannot_take_are_told(run, tmp_path):
    def no_resize(content):
        content["hyper_parameters"]["metadata"]["prepare"] = ImagePipeline([]).prepare_spec

    cv2.imwrite(str(tmp_path / "cell.png"), np.zeros((80, 90, 3), np.uint8))  # trained on 48 x 48
    done = predict(changed(run, tmp_path / "other", no_resize), tmp_path / "cell.png", "--out", tmp_path / "calls.csv")
    assert done.exit_code == 2, done.output
    assert "custom_cnn fails on images of 90 x 80 px" in done.stderr
