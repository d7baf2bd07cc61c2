from io import StringIO

import timm
import torch
from rich.console import Console

from hemai.classifier import CellClassifier
from hemai.tables import print_start

CLASSES = ("all", "hem")


def printed(model):
    text = StringIO()
    print_start(model, Console(file=text, width=80))
    return text.getvalue()


def test_a_run_says_what_came_from_the_file_of_weights(tmp_path):
    file = tmp_path / "four.pth"
    torch.save(timm.create_model("custom_cnn", num_classes=4).state_dict(), file)
    model = CellClassifier("custom_cnn", CLASSES, weights=str(file))
    assert printed(model) == f"- weights: 10 of 12 tensors from {file}; made anew: fc2 (2 classes instead of 4)\n"


def test_a_run_from_random_weights_says_nothing_of_files():
    assert printed(CellClassifier("custom_cnn", CLASSES)) == ""
