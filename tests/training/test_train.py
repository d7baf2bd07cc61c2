"""One small training, looked at from all sides."""

import json
import math

import pandas as pd
import pytest
import torch
from sklearn import metrics as reference
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hemai.models.classifier import CellClassifier
from hemai.runs.build import build_data
from hemai.settings.compose import compose
from hemai.utils.errors import UserError
from tests.small_run import SMALL, train


def small_data():
    data = build_data(compose(SMALL))
    data.setup()
    return data


@pytest.fixture
def run(small_run):
    return small_run


def test_the_run_folder_holds_everything(run):
    folder, _ = run
    for name in (
        ".hydra/config.yaml",
        ".hydra/overrides.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "splits.csv",
        "metrics.csv",
        "predictions_val.csv",
        "predictions_test.csv",
        "result.json",
        "figures/curves.png",
        "figures/confusion_matrix_test.png",
    ):
        assert (folder / name).is_file(), name
    assert not list(folder.rglob("*.part"))


def test_the_result_is_one_flat_object_as_returned(run):
    folder, result = run
    assert json.loads((folder / "result.json").read_text()) == result
    assert not any(isinstance(value, (dict, list)) for value in result.values())
    assert result["parameters"] == 224 + 1_168 + 4_640 + 18_496 + (64 + 1) * 100 + (100 + 1) * 2
    assert result["epochs"] == 2
    assert result["groups_shared"] == 0


def test_the_figures_follow_from_the_predictions_file(run):
    folder, result = run
    table = pd.read_csv(folder / "predictions_test.csv")
    probabilities = table[["probability/all", "probability/hem"]]
    assert result["test/images"] == len(table)
    assert result["test/groups"] == table["group"].nunique()
    assert result["test/accuracy"] == pytest.approx(reference.accuracy_score(table["label"], table["predicted"]))
    assert result["test/auroc"] == pytest.approx(
        reference.roc_auc_score(table["label"] == "all", probabilities["probability/all"])
    )
    assert result["test/loss"] == pytest.approx(reference.log_loss(table["label"], probabilities.to_numpy()))


def test_predictions_are_those_of_the_test_rows_of_splits(run):
    folder, _ = run
    splits = pd.read_csv(folder / "splits.csv")
    for split in ("val", "test"):
        predicted = pd.read_csv(folder / f"predictions_{split}.csv")
        assert predicted["path"].tolist() == splits["path"][splits["split"] == split].tolist()


def test_the_checkpoint_loads_safely_and_explains_itself(run):
    folder, _ = run
    checkpoint = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    metadata = checkpoint["hyper_parameters"]["metadata"]
    assert checkpoint["hyper_parameters"]["classes"] == ["all", "hem"]
    assert checkpoint["hyper_parameters"]["positive"] == ["all"]
    assert metadata["prepare"]["transform"]["transforms"][0]["height"] == 48
    assert set(metadata["versions"]) >= {"hemai", "torch", "timm"}
    assert len(metadata["split_hash"]) == 16


def test_a_loaded_checkpoint_repeats_the_predictions(run):
    folder, _ = run
    model = CellClassifier.load_from_checkpoint(folder / "checkpoints" / "best.ckpt", weights_only=True).eval()
    data = small_data()
    with torch.no_grad():
        batch = data.images("test")[[(0, 0)]]
        logits = model(batch["image"])[0].tolist()
    first = pd.read_csv(folder / "predictions_test.csv").iloc[0]
    assert logits == pytest.approx([first["logit/all"], first["logit/hem"]], abs=1e-5)


def test_metrics_csv_has_a_row_an_epoch_with_both_stages(run):
    rows = pd.read_csv(run[0] / "metrics.csv")
    assert rows["epoch"].tolist() == [1, 2]
    assert {"learning_rate", "train/loss", "val/loss", "train/accuracy", "val/auroc"} <= set(rows.columns)
    assert not rows["train/loss"].isna().any()


def test_the_dashboard_shows_both_stages_under_one_name(run):
    for stage in ("train", "val"):
        events = EventAccumulator(str(run[0] / "tensorboard" / stage))
        events.Reload()
        assert [event.step for event in events.Scalars("accuracy")] == [1, 2]
        assert events.Tags()["images"] == ["training_images" if stage == "train" else "confusion_matrix"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run, tmp_path):
    weights = []
    for name, seed in (("again", 0), ("other", 1)):
        train(f"run_dir={tmp_path / name}", f"seed={seed}")
        weights.append(torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
    first = torch.load(run[0] / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(first[name], weights[0][name]) for name in first)
    assert not torch.equal(first["backbone.fc2.weight"], weights[1]["backbone.fc2.weight"])


def test_workers_change_nothing(run, tmp_path):
    for workers in (0, 2):
        train(f"run_dir={tmp_path / str(workers)}", "transform=augmented", f"data.num_workers={workers}")
    first, second = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for name in "02"
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_class_weights_and_label_smoothing_change_training_and_not_the_meaning_of_the_loss(run, tmp_path):
    result = train(f"run_dir={tmp_path / 'run'}", "model.class_weights=balanced", "model.label_smoothing=0.1")
    table = pd.read_csv(tmp_path / "run" / "predictions_test.csv")
    loss = reference.log_loss(table["label"], table[["probability/all", "probability/hem"]].to_numpy())
    CellClassifier.load_from_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert result["test/loss"] == pytest.approx(loss)
    assert result["test/loss"] != run[1]["test/loss"]


def test_training_stops_early_when_patience_is_lost(tmp_path):
    # A rate of 0 never improves the figure: 1 epoch sets it, 2 lose the patience.
    result = train(f"run_dir={tmp_path / 'run'}", "model.optimizer.lr=0", "patience=2", "trainer.max_epochs=9")
    assert result["epochs"] == 3


def test_without_validation_the_last_epoch_is_kept_and_without_test_none_is_told(tmp_path, capsys):
    settings = ["data.val_share=0", "monitor=null", "model.plateau=null"]
    tested = train(f"run_dir={tmp_path / 'tested'}", *settings)
    assert tested["train/images"] + tested["test/images"] == 150
    untested = train(f"run_dir={tmp_path / 'all'}", *settings, "data.test_share=0")
    assert untested["train/images"] == 150
    assert not any(name.startswith(("val/", "test/")) for name in untested)
    shown = capsys.readouterr().out
    assert "no image is in val: the best epoch is not chosen on unseen images" in shown
    assert "no image is in test: nothing is tested on new patients" in shown
    for name in ("tested", "all"):
        states = [
            torch.load(tmp_path / name / "checkpoints" / f"{file}.ckpt", weights_only=True) for file in ("best", "last")
        ]
        assert states[0]["epoch"] == states[1]["epoch"] == 1
        assert all(torch.equal(states[0]["state_dict"][key], value) for key, value in states[1]["state_dict"].items())


@pytest.mark.parametrize("val_share", [0.15, 0])
def test_the_last_epoch_is_kept_also_when_it_is_not_validated(tmp_path, val_share):
    settings = [f"data.val_share={val_share}", "monitor=null", "model.plateau=null", "trainer.max_epochs=3"]
    train(f"run_dir={tmp_path / 'run'}", *settings, "trainer.check_val_every_n_epoch=2")
    assert torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 2


def test_gradients_are_accumulated_and_clipped_by_the_trainer(tmp_path):
    train(f"run_dir={tmp_path / 'run'}", "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=0.5")
    rows = pd.read_csv(tmp_path / "run" / "metrics.csv")
    batches = math.ceil(len(pd.read_csv(tmp_path / "run" / "splits.csv").query("split == 'train'")) / 32)
    assert rows["step"].tolist() == [math.ceil(batches / 2), 2 * math.ceil(batches / 2)]


def test_a_run_folder_that_is_not_empty_is_refused(run):
    before = sorted(run[0].rglob("*"))
    with pytest.raises(UserError, match="not empty.*resume="):
        train(f"run_dir={run[0]}")
    assert sorted(run[0].rglob("*")) == before


def test_whole_numbers_are_class_weights_too(tmp_path):
    assert train(f"run_dir={tmp_path / 'run'}", "model.class_weights=[1,2]")["epochs"] == 2


def test_bfloat16_training_gives_figures_in_float32(tmp_path):
    result = train(f"run_dir={tmp_path / 'run'}", "trainer.precision=bf16-mixed")
    data = small_data()
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    model = CellClassifier.load_from_checkpoint(checkpoint, weights_only=True).eval()
    batch = data.images("test")[[(0, index) for index in range(result["test/images"])]]
    with torch.no_grad():
        logits = model(batch["image"])
    written = pd.read_csv(tmp_path / "run" / "predictions_test.csv")[["logit/all", "logit/hem"]]
    torch.testing.assert_close(logits.double(), torch.tensor(written.to_numpy()), atol=1e-5, rtol=0)


def test_a_segmented_run_counts_images_without_a_nucleus_and_keeps_its_recipe(tmp_path, capsys):
    contrast = 1000  # of which no image has so much
    result = train(
        "transform=segmented", f"transform.prepare.segment.min_contrast={contrast}", "trainer.max_epochs=1",
        f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    for split in ("train", "val", "test"):
        assert result[f"{split}/no_nucleus"] == result[f"{split}/images"]
    shown = capsys.readouterr().out
    assert "no nucleus found in 150 images" in shown
    assert "no nucleus found" in shown.split("result of the best checkpoint")[1]
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    transforms = best["hyper_parameters"]["metadata"]["prepare"]["transform"]["transforms"]
    assert [step["__class_fullname__"].split(".")[-1] for step in transforms] == ["SegmentNucleus", "Resize"]
    assert transforms[0]["min_contrast"] == contrast
