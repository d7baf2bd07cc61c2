import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hemai.evaluation.plots import draw_errors
from hemai.evaluation.predictions import Predictions
from hemai.utils.pictures import draw_curves, render


def test_a_picture_is_the_same_as_file_and_as_pixels(tmp_path):
    figure = Figure(figsize=(2, 1), facecolor="#ff0000")
    picture = render("red", figure, "A red picture.")
    picture.save(tmp_path / "figures")
    read = cv2.imread(str(tmp_path / "figures" / "red.png"))[..., ::-1]
    assert picture.array.dtype == np.uint8 and picture.array.shape == (150, 300, 3)
    assert np.array_equal(picture.array, read)
    assert picture.array[0, 0].tolist() == [255, 0, 0]
    assert not picture.is_wide and render("sheet", Figure(figsize=(8, 1))).is_wide


def test_the_most_confident_errors_come_first_and_files_that_are_gone_are_left_out(tmp_path, draw_image):
    paths = ["right.png", "unsure.png", "sure.png", "gone.png"]
    for path in paths[:3]:
        draw_image(tmp_path / path)
    table = pd.DataFrame({"path": paths, "label": ["a", "a", "b", "a"], "group": ["1", "2", "3", "4"]})
    logits = np.array([[2.0, 0], [0, 1.0], [3.0, 0], [0, 9.0]])
    figure = draw_errors(Predictions(table, logits, ("a", "b"), ()), tmp_path, "test")
    assert [axes.get_title() for axes in figure.axes if axes.images] == [
        "3: b, predicted\na 95%",
        "2: a, predicted\nb 73%",
    ]
    assert "3 of 4" in figure.get_suptitle()


def test_the_curves_are_those_of_the_epochs():
    rows = [{"epoch": 1, "train/loss": 0.9, "val/loss": 0.8, "train/accuracy": 0.5}, {"epoch": 2, "train/loss": 0.7}]
    loss, accuracy = draw_curves(rows, best_epoch=2).axes
    assert {line.get_label(): list(line.get_ydata()) for line in loss.lines[:2]} == {
        "training": [0.9, 0.7], "validation": [0.8],
    }  # fmt: skip
    assert [line.get_label() for line in accuracy.lines] == ["training", "tested checkpoint"]
