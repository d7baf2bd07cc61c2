import pandas as pd
import pytest
from typer.testing import CliRunner

from hemai.cli import app
from tests.small_run import SMALL, train


def audit(*arguments):
    return CliRunner().invoke(app, ["audit", *map(str, arguments)], env={"COLUMNS": "120"})


def test_a_run_stands_beside_what_is_no_morphology(tmp_path):
    trained = train(f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=1")
    done = audit(*SMALL[:3], "--run", tmp_path / "run", "--out", tmp_path / "audit.csv")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "audit.csv").set_index("feature")
    assert {"cell area", "mean colour", "file order", "this model"} < set(table.index)
    assert "file size" not in table.index  # drawn images have one size
    assert table.loc["this model", "auroc"] == pytest.approx(trained["test/auroc"], abs=1e-6)
    assert table.loc["majority class", "auroc"] == 0.5
    assert "Exact duplicates: 0 pairs" in done.stdout
    assert "The patient in the features" in done.stdout


def test_a_scale_bar_of_one_class_is_found(tmp_path, draw_image):
    import cv2

    for label in ("benign", "blast"):
        for group in range(8):
            for number in range(4):
                file = tmp_path / "images" / label / f"G{label}{group}_{number}.png"
                draw_image(file)
                if label == "blast":
                    image = cv2.imread(str(file))
                    cv2.rectangle(
                        image, (image.shape[1] * 7 // 8, image.shape[0] * 15 // 16), image.shape[1::-1], 255, -1
                    )
                    cv2.imwrite(str(file), image)
    settings = ["data=folder", f"data.root={tmp_path / 'images'}", r"data.pattern=G(\w+)_", "data.positive=[blast]"]
    done = audit(*settings, "--out", tmp_path / "audit.csv")
    assert done.exit_code == 0, done.output
    auroc = pd.read_csv(tmp_path / "audit.csv").set_index("feature")["auroc"]
    assert auroc["corner, bottom right"] == 1
    assert auroc["corner, top left"] < 0.9


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["data.test_share=0"], "no image is in the test set"),
        (["data.rot=x"], "unknown key"),
        (["--run", "{tmp}"], "has no test predictions"),
        (["--out", "{tmp}/old.csv"], "old.csv already exists"),
    ],
)
def test_a_mistake_is_told(tmp_path, arguments, told):
    (tmp_path / "old.csv").write_text("")
    done = audit(*SMALL[:3], *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())
