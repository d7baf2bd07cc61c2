import timm
import torch

from hemai.models.classifier import CellClassifier
from hemai.reporting.console import print_start

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
