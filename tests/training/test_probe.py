"""The linear probe against scikit-learn's own pipeline, on features of a small network."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from typer.testing import CliRunner

from hemai.cli import app
from hemai.data.splits import split_table
from hemai.reporting.settings_table import settings_of_runs
from hemai.runs import features
from hemai.runs.build import build_data
from hemai.runs.saved_run import SavedRun, load_run
from hemai.settings.compose import compose
from hemai.training.crossvalidation import crossvalidate
from hemai.training.probe import STRENGTHS, _mean_and_std, _set_layer
from hemai.utils.errors import UserError
from tests.small_run import SMALL, train, train_here

PROBE = ["probe=true", "data.patients=18"]


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe") / "run"
    return folder, train(*PROBE, f"run_dir={folder}", "plots=true", "report=true")


def content(folder):
    saved = np.load(folder / "features.npz")
    return saved, pd.DataFrame({name: saved[name] for name in ("path", "label", "group", "split")})


def regression(strength):
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5_000))


def test_the_checkpoint_predicts_what_a_pipeline_of_scikit_learn_does(probed):
    folder, result = probed
    saved, table = content(folder)
    train_rows, test_rows = (table["split"] == split for split in ("train", "test"))
    pipeline = regression(result["probe_C"]).fit(saved["features"][train_rows], table["label"][train_rows])
    expected = pipeline.predict_proba(saved["features"][test_rows])
    found = load_run(folder).predictions("test")
    assert found.table["path"].tolist() == table["path"][test_rows].tolist()
    assert list(pipeline.classes_) == list(found.classes)
    assert softmax(found.logits, axis=1) == pytest.approx(expected, abs=2e-4)


def test_the_strength_has_the_lowest_cross_entropy_over_folds_of_the_training_groups(probed):
    folder, result = probed
    saved, table = content(folder)
    rows = (table["split"] == "train").to_numpy()
    training, values = table[rows].assign(fold=""), saved["features"][rows]
    folds = int(training.groupby("label")["group"].nunique().min().clip(max=5))
    assert result["probe_folds"] == folds
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for fold in range(folds):
        held = split_table(training, "kfold", 0, fold, folds, (), {"train": 1.0}).to_numpy() == "test"
        for strength in STRENGTHS:
            fitted = regression(strength).fit(values[~held], training["label"][~held])
            losses[strength] += log_loss(
                training["label"][held], fitted.predict_proba(values[held]), labels=fitted.classes_, normalize=False
            )
    assert result["probe_C"] == min(losses, key=losses.get)


def test_the_nearest_neighbours_are_those_of_scikit_learn(probed):
    folder, result = probed
    saved, table = content(folder)
    scaled = StandardScaler().fit(saved["features"][table["split"] == "train"]).transform(saved["features"])
    rows, test_rows = table["split"] == "train", table["split"] == "test"
    search = KNeighborsClassifier(20, metric="cosine").fit(scaled[rows], table["label"][rows])
    malignant = search.predict_proba(scaled[test_rows])[:, list(search.classes_).index("all")]
    expected = roc_auc_score(table["label"][test_rows] == "all", malignant)
    assert result["test/knn_auroc"] == pytest.approx(expected, abs=1e-6)


def test_the_predictions_of_the_run_are_those_of_its_checkpoint_on_the_images(probed):
    folder, _ = probed
    run = SavedRun(folder)
    found, data = run.predictions("test"), run.data()
    table = run.predict([data.dataset.root / path for path in found.table["path"]])
    assert table["probability/all"].to_numpy() == pytest.approx(found.probabilities[:, 0], abs=1e-5)


def test_a_probe_is_a_run_with_threshold_report_and_score(probed):
    folder, result = probed
    run = SavedRun(folder)
    assert result["epochs"] == 0
    assert result["score"] == result["val/loss"]
    assert run.metadata["threshold"] == result["threshold"]
    assert run.metadata["probe"] == {"C": result["probe_C"], "folds": result["probe_folds"]}
    assert "logistic regression of the last layer on the features" in (folder / "report.md").read_text()
    assert run.has_predictions()
    assert (folder / "report.html").is_file()
    assert not (folder / "figures" / "curves.png").exists()


def test_features_are_computed_once_for_the_same_weights_and_images(probed, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "penultimate_features", None)  # it must not be called
    again = train(*PROBE, f"run_dir={tmp_path / 'run'}")
    assert again["test/auroc"] == probed[1]["test/auroc"]
    with pytest.raises(TypeError, match="not callable"):
        train(*PROBE, "seed=1", f"run_dir={tmp_path / 'other'}")


def test_a_last_layer_of_three_classes_takes_in_the_standardisation():
    rng = np.random.default_rng(0)
    values, targets = rng.normal(3, 5, (60, 4)), np.arange(60) % 3
    scaler = StandardScaler().fit(values)
    fitted = LogisticRegression(C=0.1).fit(scaler.transform(values), targets)
    layer = nn.Linear(4, 3)
    _set_layer(layer, fitted, scaler.mean_, scaler.scale_)
    with torch.no_grad():
        found = layer(torch.from_numpy(values).float()).softmax(dim=1).numpy()
    assert found == pytest.approx(fitted.predict_proba(scaler.transform(values)), abs=1e-5)


def test_a_constant_feature_gets_no_weight_though_rounding_makes_its_deviation_positive():
    values = np.column_stack([np.full(1000, 0.1), np.arange(1000) % 2, np.zeros(1000)])
    assert values[:, 0].std() > 0  # 1e-17
    mean, std = _mean_and_std(values)
    assert mean == pytest.approx([0.1, 0.5, 0])
    assert std.tolist() == [np.inf, 0.5, np.inf]


def test_damaged_features_are_computed_again(tmp_path, cache_folder):
    settings = [*PROBE, f"run_dir={tmp_path / 'run'}"]
    first = train(*settings)
    (file,) = cache_folder.glob("features/*/features.npy")
    content = file.read_bytes()
    file.write_bytes(content[:-1000] + bytes(1000))
    again = train(*PROBE, f"run_dir={tmp_path / 'again'}")
    assert again["test/loss"] == first["test/loss"]
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "setting, message",
    [
        ("monitor=train/loss", "a probe has no epochs"),
        ("model.backbone=resnetv2_50", "ends with Conv2d"),
        ("trainer.devices=2", "fitted on one; set trainer.devices=1"),
        ("find=learning_rate", "a probe has no learning rate"),
        ("monitor=val/nothing", "is not a metric"),
        ("model.label_smoothing=0.1", "fits the last layer alone; remove it"),
        ("probe=2", "probe=2: expected true or false"),
    ],
)
def test_what_a_probe_cannot_do_is_refused(setting, message, tmp_path):
    with pytest.raises(UserError, match=message):
        train("model=timm", "model.backbone=resnet10t", *PROBE, setting, f"run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_probes_are_cross_validated_and_a_fold_that_was_killed_begins_again(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.run", train_here)
    settings = [*SMALL, *PROBE, "data.folds=2", "data.split=kfold"]
    folders = crossvalidate(settings, tmp_path / "cv", repeats=1)
    first = load_run(folders[0]).predictions("test").to_csv()
    (folders[0] / "result.json").unlink()  # as if it had been killed
    crossvalidate(settings, tmp_path / "cv", repeats=1)
    assert load_run(folders[0]).predictions("test").to_csv() == first


def test_without_two_groups_of_each_class_the_strength_is_the_default(tmp_path):
    split = tmp_path / "split.csv"
    data = build_data(compose([*SMALL, *PROBE]))
    data.setup()
    groups = data.table[["label", "group"]].astype(str).drop_duplicates()
    one = groups[groups["label"] == "hem"]["group"].iloc[0]
    is_kept = (data.table["label"] == "all") | (data.table["group"] == one)
    data.table[["path"]].assign(split=is_kept.map({True: "train", False: "test"})).to_csv(split, index=False)
    settings = [f"data.split={split}", "monitor=null", "model.plateau=null"]
    result = train(*PROBE, *settings, f"run_dir={tmp_path / 'run'}")
    assert (result["probe_C"], result["probe_folds"]) == (1e-3, 0)


def test_checklists_and_tables_of_several_runs_take_a_probe(probed, small_run):
    done = CliRunner().invoke(app, ["report", str(probed[0]), "--checklist", "claim"])
    assert done.exit_code == 0, done.output
    table = settings_of_runs([SavedRun(probed[0]), SavedRun(small_run[0])])
    row = table.set_index("setting").loc["optimizer", "value"]
    assert "logistic regression" in row and "adam" in row
