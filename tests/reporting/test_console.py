import timm
import torch

from hemai.models.classifier import CellClassifier
from hemai.reporting.console import print_data, print_start
from hemai.runs.build import build_data
from hemai.settings.compose import compose

CLASSES = ("all", "hem")


def test_a_run_says_what_came_from_the_file_of_weights(tmp_path, capsys):
    file = tmp_path / "four.pth"
    torch.save(timm.create_model("custom_cnn", num_classes=4).state_dict(), file)
    model = CellClassifier("custom_cnn", CLASSES, weights=str(file))
    print_start(model)
    expected = f"- weights: 10 of 12 tensors from {file}; re-initialised: fc2 (2 classes instead of 4)\n"
    assert capsys.readouterr().out == expected


def test_a_run_from_random_weights_says_nothing_of_files(capsys):
    print_start(CellClassifier("custom_cnn", CLASSES))
    assert capsys.readouterr().out == ""


def data_lines(capsys, *overrides):
    data = build_data(compose(["data.cells=240", "model.image_size=48", *overrides]))
    data.setup()
    print_data(data)
    return capsys.readouterr().out


def test_few_patients_are_sent_to_cross_validation_and_a_single_one_is_named(capsys):
    few = data_lines(capsys, "data.patients=9")
    assert "WARNING: one patient of all, hem in test, which tells nothing of new ones" in few
    assert "9 patients are few for one split: `hemai crossvalidate` with these settings" in few
    enough = data_lines(capsys, "data.patients=60")
    assert "tells nothing of new ones" not in enough and "are few for one split" not in enough
    assert "are few for one split" not in data_lines(capsys, "data.patients=9", "data.split=kfold", "data.folds=3")
