import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from hemai.data import CellDataModule, datamodule
from hemai.transforms import ImagePipeline, SegmentNucleus
from hemai.utils.errors import UserError

PATHS = [f"{label}/P{label}{patient}_{i}.png" for label in "ab" for patient in range(4) for i in range(6)]


@pytest.fixture
def root(folder_tree):
    return folder_tree(PATHS)


def draw_smears(root, without=()):
    """A dark nucleus on a light ground in every image, but for some."""
    for number, path in enumerate(PATHS):
        image = np.full((40, 40, 3), (245, 245, 250), np.uint8)
        image[0, 0] = number  # no two files are identical
        if path not in without:
            cv2.circle(image, (20, 20), 9, (120, 70, 190), -1)
        cv2.imwrite(str(root / path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def build_segmented(root, **options):
    recipe = ImagePipeline({"segment": SegmentNucleus(), "resize": A.Resize(16, 16)})
    data = CellDataModule("hemai.data.FolderDataset", recipe, str(root), pattern=r"P(\w+)_", seed=3, **options)
    data.setup()
    return data


def test_images_without_a_nucleus_are_kept_and_counted(root):
    without = [PATHS[0], PATHS[7]]
    draw_smears(root, without)
    data = build_segmented(root)
    assert data.table["path"][data.table["no_nucleus"]].tolist() == without
    assert any("no nucleus found in 2 images" in note for note in data.dataset.notes)
    rows = data.table["path"].isin(without).to_numpy()
    assert (data.cache.images[rows][:, 1] > 200).all()  # kept whole
    assert (data.cache.images[~rows][:, 1] == 0).all()  # black outside
    again = build_segmented(root)
    assert again.table["no_nucleus"].equals(data.table["no_nucleus"])


def test_twins_double_the_training_images_alone(root):
    draw_smears(root)
    plain, twins = build_segmented(root), build_segmented(root, add_segmented_twins=True)
    assert twins.table["split"].tolist() == plain.table["split"].tolist()
    images = twins.images("train", augmented=True)
    count = len(twins.rows["train"])
    assert len(images) == 2 * count
    for split in ("val", "test"):
        assert len(twins.images(split)) == len(twins.rows[split])
    whole = images[[(0, i) for i in range(count)]]
    segmented = images[[(0, i) for i in range(count, 2 * count)]]
    assert whole["target"].tolist() == segmented["target"].tolist() == twins.targets[twins.rows["train"]].tolist()
    assert (whole["image"][:, :, 1] > 200).all()
    assert (segmented["image"][:, :, 1] == 0).all()
    assert torch.equal(whole["image"][..., 8, 8], segmented["image"][..., 8, 8])  # the nucleus
    assert (twins.images("test")[[(0, 0)]]["image"][:, :, 1] > 200).all()


def test_twins_without_a_nucleus_are_counted_where_they_are_used(root):
    draw_smears(root, PATHS)
    data = build_segmented(root, add_segmented_twins=True)
    assert (data.table["split"][data.table["no_nucleus"]] == "train").all()
    assert data.table["no_nucleus"].sum() == len(data.rows["train"])
    assert any(f"no nucleus found in {len(data.rows['train'])} images" in note for note in data.dataset.notes)


def test_an_image_of_which_only_the_twin_failed_is_unreadable(root, monkeypatch):
    draw_smears(root)
    load = datamodule.load_cache

    def failing(name, root, paths, spec, max_megapixels):
        cache = load(name, root, paths, spec, max_megapixels)
        if "SegmentNucleus" in str(spec):
            cache.errors[5] = "the disk failed"
        return cache

    monkeypatch.setattr(datamodule, "load_cache", failing)
    with pytest.raises(UserError, match=f"1 unreadable images.*\n.*{PATHS[5]}: the disk failed"):
        build_segmented(root, add_segmented_twins=True)


def test_a_checkpoint_of_twins_prepares_images_whole(root):
    draw_smears(root)
    data = build_segmented(root, add_segmented_twins=True)
    assert data.metadata()["prepare"] == ImagePipeline([A.Resize(16, 16)]).prepare_spec
    assert build_segmented(root).metadata()["prepare"] != data.metadata()["prepare"]


def test_twins_need_a_segmentation(root):
    with pytest.raises(UserError, match="transform=segmented"):
        CellDataModule(
            "hemai.data.FolderDataset", ImagePipeline([A.Resize(16, 16)]), str(root), add_segmented_twins=True
        )


def test_an_image_that_a_step_is_too_large_for_is_named(root):
    cv2.imwrite(str(root / PATHS[9]), np.zeros((20, 20, 3), np.uint8))
    recipe = ImagePipeline([A.CenterCrop(30, 30), A.Resize(16, 16)])
    data = CellDataModule("hemai.data.FolderDataset", recipe, str(root), pattern=r"P(\w+)_")
    with pytest.raises(UserError, match=f"{PATHS[9]}: transform.prepare fails"):
        data.setup()
