import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import train as script
from hemai import load_run
from hemai.export.export import export_run
from hemai.runs.saved_run import SavedRun

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXAMPLES = Path(script.__file__).parent / "examples" / "onnx"
# In place of `python predict.py`: importing torch or hemai fails.
WITHOUT_TORCH = """
import runpy, sys
sys.modules.update(torch=None, hemai=None)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def file(small_run, tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "run.onnx"
    export_run(SavedRun(small_run[0]), "onnx", file)
    return file


def run_script(*arguments):
    command = [sys.executable, "-c", WITHOUT_TORCH, EXAMPLES / "predict.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def test_the_script_predicts_as_the_run_without_torch(file, small_run):
    run = load_run(small_run[0])
    table = pd.read_csv(run.folder.predictions("test")).head(5)
    images = [run.data().dataset.root / path for path in table["path"]]
    done = run_script(file, *images)
    assert done.returncode == 0, done.stderr
    found = [float(line.split("all=")[1].split()[0]) for line in done.stdout.splitlines()]
    powers = np.exp(table[["logit/all", "logit/hem"]].to_numpy())
    assert np.abs(np.array(found) - powers[:, 0] / powers.sum(axis=1)).max() < 1e-5
    assert len((EXAMPLES / "predict.py").read_text("utf-8").splitlines()) <= 30


def with_metadata(file, target, **metadata):
    model = onnx.load(file)
    props = {prop.key: prop.value for prop in model.metadata_props}
    onnx.helper.set_model_props(model, props | {name: json.dumps(value) for name, value in metadata.items()})
    onnx.save(model, target)
    return target


def test_the_script_refuses_what_it_cannot_prepare(file, tmp_path, draw_image):
    segment = {"__class_fullname__": "hemai.transforms.segment.SegmentNucleus"}
    resize = {"__class_fullname__": "Resize", "height": 48, "width": 48, "interpolation": 3}
    for prepare, words in (([segment], "SegmentNucleus"), ([resize, resize], "a longer list"), ([], "a longer list")):
        other = with_metadata(file, tmp_path / "other.onnx", prepare=prepare)
        done = run_script(other, draw_image(tmp_path / "cell.png"))
        assert done.returncode == 1 and words in done.stderr and "use hemai predict" in done.stderr


@pytest.mark.parametrize("dtype, channels", [(np.uint8, 4), (np.uint16, 3), (np.uint16, 1)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_script_refuses_transparency_and_more_than_8_bits(file, tmp_path, dtype, channels, suffix):
    cv2.imwrite(str(tmp_path / f"cell.{suffix}"), np.full((48, 48, channels), 99, dtype))
    done = run_script(file, tmp_path / f"cell.{suffix}")
    assert done.returncode == 1 and f"cell.{suffix} has transparency or more than 8 bits" in done.stderr


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser, runtime):
    """The page of the examples; `runtime`: what it gets for a file of onnxruntime-web."""
    page = browser.new_page()

    def answer(route):
        name = route.request.url.rpartition("/")[2]
        kind = {".html": "text/html", ".wasm": "application/wasm"}.get(Path(name).suffix, "text/javascript")
        route.fulfill(body=(EXAMPLES / name).read_bytes() if kind == "text/html" else runtime(name), content_type=kind)

    page.route("**/*", answer)
    page.goto("http://localhost/index.html")
    return page


def predict_in(page, network, *images):
    page.set_input_files("#images", [str(image) for image in images])
    page.set_input_files("#network", str(network))
    page.wait_for_function("document.getElementById('result').textContent")
    return page.text_content("#result")


ECHO = """
const ort = {
  Tensor: class { constructor(type, data, shape) { Object.assign(this, { type, data, shape }); } },
  InferenceSession: { create: async () => ({ run: async ({ images }) => ({ probabilities: images }) }) },
};
"""


@pytest.mark.parametrize("height, width", [(450, 450), (97, 131), (96, 96), (48, 48)])
def test_the_page_shrinks_images_as_opencv_does(browser, file, tmp_path, height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "cell.png"), image[..., ::-1])
    classes = [f"pixel{number}" for number in range(48 * 48 * 3)]
    network = with_metadata(file, tmp_path / "echo.onnx", classes=classes)
    text = predict_in(open_page(browser, lambda name: ECHO), network, tmp_path / "cell.png")
    found = np.array([float(word.split("=")[1]) for word in text.split()[1:]]).reshape(48, 48, 3)
    expected = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(found - expected).max() <= 1


def test_the_page_refuses_what_it_cannot_prepare(browser, file, tmp_path, draw_image):
    cell = draw_image(tmp_path / "cell.png")
    other = with_metadata(file, tmp_path / "other.onnx", prepare=[{"__class_fullname__": "SegmentNucleus"}])
    assert "use hemai predict" in predict_in(open_page(browser, lambda name: ECHO), other, cell)
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((47, 48, 3), np.uint8))
    assert "small.png is too small" in predict_in(open_page(browser, lambda name: ECHO), file, tmp_path / "small.png")


def test_the_page_predicts_as_the_run(browser, file, small_run):
    """With onnxruntime-web itself, where a developer has it (npm install onnxruntime-web)."""
    if not (folder := os.environ.get("HEMAI_TEST_ORT_WEB")):
        pytest.skip("HEMAI_TEST_ORT_WEB is not set: the folder node_modules/onnxruntime-web/dist is not here")
    run = load_run(small_run[0])
    table = run.predict([run.data().dataset.root / path for path in run.splits()["path"].head(5)])
    images = [run.data().dataset.root / path for path in run.splits()["path"].head(5)]
    text = predict_in(open_page(browser, lambda name: (Path(folder) / name).read_bytes()), file, *images)
    found = np.array([float(line.split("all=")[1].split()[0]) for line in text.splitlines()])
    assert np.abs(found - table["probability/all"].to_numpy()).max() < 1e-3
