import shutil

import pandas as pd
import pytest

import train as script
from hemai.data.folder import FolderDataset
from hemai.evaluation.external_test import ExternalTest
from hemai.reporting.flow_diagram import Box, draw_flow
from hemai.reporting.sections_flow import flow_of_images
from hemai.runs.saved_run import SavedRun
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from tests.conftest import draw
from tests.small_run import SMALL


def lines(flow):
    return [line for box in flow for line in (box.title, *box.lines)]


@pytest.fixture(scope="module")
def run_of_folder(tmp_path_factory, session_cache):
    """A run of 36 images of 12 patients, of which one cannot be read and one is a copy of that of another patient."""
    root = tmp_path_factory.mktemp("cells")
    for patient in range(12):
        for cell in range(3):
            draw(root / "data" / ("blast" if patient % 2 else "normal") / f"P{patient}_{cell}.png")
    (root / "data" / "blast" / "P1_0.png").write_bytes(b"no image")
    shutil.copy(root / "data" / "blast" / "P3_0.png", root / "data" / "blast" / "P5_0.png")
    folder = root / "run"
    settings = ["data=folder", f"data.root={root / 'data'}", "data.positive=[blast]", r"data.pattern='P(\d+)_'"]
    settings += [word for word in SMALL if not word.startswith("data.")]
    overrides = parse_arguments([*settings, "data.skip_unreadable=true", f"run_dir={folder}"])
    script.train(compose(overrides), overrides)
    return SavedRun(folder)


def test_every_image_of_the_folder_is_left_out_or_in_one_part_of_the_split(run_of_folder):
    [flow] = flow_of_images(run_of_folder.predictions(), [run_of_folder], None)
    told = lines(flow)
    assert told[:4] == [
        "found: 36 images of folder",
        "left out: 1 image",
        "1 unreadable images (data.skip_unreadable=true)",
        "used: 35 images of 11 patients",
    ]
    assert "merged, as they share identical files with others: 1 patient" in told
    splits = pd.read_csv(run_of_folder.path / "splits.csv")
    for split, name in (("train", "training"), ("val", "validation"), ("test", "test")):
        part = splits[splits["split"] == split]
        assert f"{name}: {len(part)} images of {part['group'].nunique()} patients" in told
    assert [box.title.split(":")[0] for box in flow if box.kind == "tested"] == ["test"]


def test_a_run_of_an_earlier_version_did_not_record_what_was_left_out(run_of_folder, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(run_of_folder.path, folder)
    (folder / "provenance.json").unlink()
    run = SavedRun(folder)
    assert "left out: not recorded by an older run" in lines(flow_of_images(run.predictions(), [run], None)[0])


def test_an_external_test_set_has_a_flow_of_its_own(run_of_folder, folder_tree):
    root = folder_tree([f"{label}/P{i}_{label}.png" for i in range(4) for label in ("blast", "normal")])
    dataset = FolderDataset(root, positive=["blast"], pattern=r"P(\d+)_")
    tested = run_of_folder.predictions()
    dataset.leave_out(3, "images without labels")
    used, external = flow_of_images(tested, [run_of_folder], ExternalTest(dataset, tested, None))
    assert not any(box.kind == "tested" for box in used)
    assert lines(external)[0].startswith("found: 11 images of folder")
    assert "3 images without labels" in lines(external)


def test_folds_are_one_box_and_their_test_images_are_counted_once(run_of_folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run_of_folder.path, other)
    runs = [run_of_folder, SavedRun(other)]
    [flow] = flow_of_images(run_of_folder.predictions(), runs, None)
    assert "each of 2 networks" in lines(flow)
    images = len(run_of_folder.predictions().targets)
    assert any(f"did not train on them: {images} images of" in line for line in lines(flow))
    assert any(line.startswith("test: ") for line in lines(flow))


def test_networks_without_a_test_of_their_own_have_none_in_the_flow(run_of_folder, tmp_path):
    runs = []
    for name in ("one", "two"):
        shutil.copytree(run_of_folder.path, tmp_path / name)
        splits = pd.read_csv(tmp_path / name / "splits.csv")
        splits[splits["split"] != "test"].to_csv(tmp_path / name / "splits.csv", index=False)
        runs.append(SavedRun(tmp_path / name))
    tested = run_of_folder.predictions()
    used, _ = flow_of_images(tested, runs, ExternalTest(run_of_folder.data().dataset, tested, None))
    assert [line.split(":")[0] for line in lines(used)[-2:]] == ["training", "validation"]


def test_long_lines_are_wrapped_inside_their_box():
    box = Box("found: 3 images", ["a reason of very many words " * 6], branch=True)
    axes = draw_flow([[Box("all"), box]]).axes[0]
    widest = max(text.get_window_extent().x1 for text in axes.texts if text.get_text())
    assert widest <= max(patch.get_window_extent().x1 for patch in axes.patches)
