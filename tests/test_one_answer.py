"""One image gets one answer, wherever it is asked for."""

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hemai import load_run
from hemai.cli import app
from hemai.reporting.evaluations import evaluate_runs
from tests.small_run import train

TOLERANCE = 1e-4
LORA = ["model.adapter={name: lora, rank: 2}", "model.optimizer.layer_decay=null"]
NETWORKS = {
    "custom_cnn": [],
    "mobilenetv2": ["model=mobilenetv2"],
    "efficientnet_b0": ["model=efficientnet_b0"],
    "nasnet_mobile": ["model=nasnet_mobile"],
    "resnet, eight views": ["model=timm", "model.backbone=resnet10t", "model.test_time_augmentation=true"],
    "transformer with adapters": ["model=timm", "model.backbone=test_vit", *LORA],
    "probe": ["model=timm", "model.backbone=resnet10t", "probe=true"],
}


@pytest.mark.parametrize("network", [pytest.param(n, marks=[pytest.mark.slow] * (n != "custom_cnn")) for n in NETWORKS])
def test_predict_evaluate_load_run_page_and_onnx_give_the_same_probability(network, tmp_path):
    pytest.importorskip("onnxruntime")
    from hemai.app.answers import Answerer
    from hemai.app.uploads import Upload
    from hemai.export.export import export_run
    from hemai.export.onnx_file import onnx_outputs, start_session

    folder = tmp_path / "run"
    train("data.cells=60", *NETWORKS[network], "trainer.max_epochs=1", f"run_dir={folder}")
    run = load_run(folder)
    tested = run.predictions("test")
    root = run.data().dataset.root
    files = [root / path for path in tested.table["path"]]
    names = [f"probability/{label}" for label in tested.classes]

    table = run.predict(files)
    assert table[names].to_numpy() == pytest.approx(tested.probabilities, abs=TOLERANCE)

    done = CliRunner().invoke(app, ["predict", str(folder), *map(str, files), "--out", str(tmp_path / "out.csv")])
    assert done.exit_code == 0, done.output
    predicted = pd.read_csv(tmp_path / "out.csv")
    assert predicted["path"].tolist() == table["path"].tolist()
    assert predicted[names].to_numpy() == pytest.approx(tested.probabilities, abs=TOLERANCE)

    evaluate_runs([folder], tmp_path / "evaluated", ["data=synthetic", "data.cells=60", "data.patients=9"], None)
    found = pd.read_csv(tmp_path / "evaluated" / "predictions.csv").set_index("path").loc[tested.table["path"].tolist()]
    assert found[names].to_numpy() == pytest.approx(tested.probabilities, abs=TOLERANCE)

    uploads = [Upload(file.name, file.read_bytes()) for file in files]
    answers = [answer for some in Answerer([run]).answer(uploads, "whole") for answer in some]
    page = np.array([[answer.values[name] for name in names] for answer in answers])
    assert page == pytest.approx(tested.probabilities, abs=TOLERANCE)

    export_run(run, "onnx", tmp_path / "run.onnx", [], False, "")
    size = run.model.hparams["image_size"]  # the prepare list is a resize
    images = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    resized = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images])
    _, probabilities = onnx_outputs(start_session((tmp_path / "run.onnx").read_bytes()), resized)
    assert probabilities == pytest.approx(tested.probabilities, abs=TOLERANCE)
