import json
import shutil

import albumentations as A
import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from hemai.data import CellDataModule
from hemai.data.batches import CellImages
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

PATHS = [f"{label}/P{label}{patient}_{i}.png" for label in "ab" for patient in range(4) for i in range(6)]
AUGMENT = [
    A.HorizontalFlip(p=0.5),
    A.OneOf([A.RandomBrightnessContrast(p=1), A.HueSaturationValue(p=1)], p=0.9),
    A.Affine(rotate=(-180, 180), p=1.0),
    A.CoarseDropout(p=0.5),
]


@pytest.fixture
def root(folder_tree):
    return folder_tree(PATHS)


@pytest.fixture
def build(root):
    def build(augment=AUGMENT, setup=True, **options):
        options = {"pattern": r"P(\w+)_", "batch_size": 8, "seed": 3} | options
        recipe = ImagePipeline([A.Resize(16, 16)], augment)
        data = CellDataModule("hemai.data.FolderDataset", recipe, str(root), **options)
        if setup:
            data.setup()
        return data

    return build


def images_by_index(data, epoch):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return {int(i): image for batch in loader for i, image in zip(batch["index"], batch["image"], strict=True)}


def test_batches_are_uint8_in_channels_last_memory(build):
    data = build()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.eval_dataloader("test")):
        batch = next(iter(loader))
        assert batch["image"].dtype == torch.uint8
        assert batch["image"].shape[1:] == (3, 16, 16)
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert batch["target"].dtype == batch["index"].dtype == torch.int64


def test_targets_are_the_positions_of_the_class_names(build):
    data = build(classes=["b", "a"], positive=["a"])
    for split in ("train", "val", "test"):
        for batch in data.eval_dataloader(split):
            labels = data.table["label"].iloc[data.rows[split][batch["index"]]]
            assert batch["target"].tolist() == [["b", "a"].index(label) for label in labels]


def test_images_belong_to_the_rows_of_the_table(build):
    data = build()
    rows = data.rows["val"]
    for batch in data.val_dataloader():
        expected = data.cache.images[rows[batch["index"].numpy()]]
        assert np.array_equal(batch["image"].permute(0, 2, 3, 1).numpy(), expected)


def test_every_image_is_in_one_split(build):
    data = build()
    assert sorted(np.concatenate(list(data.rows.values()))) == list(range(48))
    assert data.split_names() == ["train", "val", "test"]
    assert sum(data.class_counts()) == len(data.rows["train"])


def test_augmentation_is_the_same_with_and_without_workers(build):
    alone = images_by_index(build(num_workers=0), epoch=1)
    shared = images_by_index(build(num_workers=2), epoch=1)
    assert len(alone) >= 16
    assert alone.keys() == shared.keys()
    assert all(torch.equal(alone[i], shared[i]) for i in alone)


def test_augmentation_follows_from_seed_epoch_and_index_alone(build):
    data = build()
    images = data.images("train", augmented=True)
    items = [(epoch, index) for epoch in (0, 1, 2) for index in range(8)]
    first = dict(zip(items, images[items]["image"], strict=True))
    images = data.images("train", augmented=True)
    for item in reversed(items):  # other neighbours, other order, another object
        assert torch.equal(images[[item]]["image"][0], first[item])
    others = CellImages(images.caches, images.rows, images.targets, data.transform, seed=4)
    for item in items:
        assert not torch.equal(others[[item]]["image"][0], first[item])


@pytest.mark.parametrize(
    "transform",
    [A.Affine(rotate=(-180, 180), p=1.0), A.GaussNoise(std_range=(0.3, 0.3), p=1.0)],
    ids=["python-generator", "numpy-generator"],  # albumentations draws from one or the other
)
def test_augmentation_differs_between_epochs_and_between_images(build, transform):
    images = build([transform]).images("train", augmented=True)
    same = CellImages(images.caches, images.rows[[0] * 8], images.targets[[0] * 8], None, seed=0)
    same.augment = images.augment  # eight times the same image
    batch = same[[(epoch, index) for epoch in range(4) for index in range(8)]]["image"]
    assert len({image.numpy().tobytes() for image in batch}) == 32


def test_augmentation_leaves_cache_and_evaluation_as_they_are(build):
    data = build()
    before = np.array(data.cache.images)
    list(data.train_dataloader())
    assert np.array_equal(data.cache.images, before)
    for name in ("train", "val", "test"):
        for batch in data.eval_dataloader(name):
            expected = before[data.rows[name][batch["index"].numpy()]]
            assert np.array_equal(batch["image"].permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("workers", [0, 2])  # which read ahead
def test_training_goes_on_in_mid_epoch_with_the_same_images(build, workers):
    data = build()
    whole = data.train_dataloader()
    whole.sampler.set_epoch(2)
    batches = iter(whole)
    first = next(batches)
    state = whole.state_dict()
    assert state == {"epoch": 2, "batch": 1}
    expected = [first, *batches]
    resumed = build(num_workers=workers).train_dataloader()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    rest = list(resumed)
    assert len(rest) == len(expected) - 1 > 0
    for batch, wanted in zip(rest, expected[1:], strict=True):
        assert torch.equal(batch["index"], wanted["index"])
        assert torch.equal(batch["image"], wanted["image"])


def test_all_unreadable_images_are_listed_at_once(build, root):
    (root / PATHS[0]).write_bytes(b"")
    (root / PATHS[7]).write_bytes(b"text")
    with pytest.raises(UserError, match=r"(?s)2 unreadable .*Pa0_0\.png: the file is empty.*Pa1_1\.png: not an image"):
        build()


def test_unreadable_images_can_be_left_out(build, root):
    (root / PATHS[0]).write_bytes(b"")
    (root / PATHS[7]).write_bytes(b"text")
    data = build(skip_unreadable=True)
    assert len(data.table) == 46
    assert not set(data.table["path"]) & {PATHS[0], PATHS[7]}
    assert any("2 unreadable images (data.skip_unreadable=true) are left out" in note for note in data.dataset.notes)
    for name in data.split_names():  # the rows behind the missing ones still find their own images
        for batch in data.eval_dataloader(name):
            for index, image in zip(batch["index"], batch["image"], strict=True):
                path = data.table["path"].iloc[data.rows[name][index]]
                expected = data.transform.prepare[0](image=data.cache.images[PATHS.index(path)])["image"]
                assert np.array_equal(image.permute(1, 2, 0), expected)
                assert image.any()


def test_identical_files_of_two_patients_stay_together(build, root):
    shutil.copy(root / "a/Pa0_0.png", root / "a/Pa3_0.png")
    for seed in range(5):
        data = build(seed=seed)
        assert data.n_merged_groups == 1
        assert data.leakage.groups == ()
        assert data.leakage.duplicates == 0
        both = data.table["path"].isin(["a/Pa0_0.png", "a/Pa3_0.png"])
        assert data.table["split"][both].nunique() == 1


def test_leakage_of_the_image_rule_is_counted(build):
    data = build(split="image")
    splits_of_group = data.table.groupby("group", observed=True)["split"].nunique()
    assert len(data.leakage.groups) == (splits_of_group > 1).sum() > 0


def split_file(root, **splits):
    """Write a split by patient; those that are not named train."""
    patients = [path.split("_")[0].split("/P")[1] for path in PATHS]
    rows = {"path": PATHS, "split": [splits.get(patient, "train") for patient in patients]}
    pd.DataFrame(rows).to_csv(root / "splits.csv", index=False)
    return str(root / "splits.csv")


def test_a_class_that_is_never_trained_on_is_refused(build, root):
    file = split_file(root, a0="val", b0="val", b1="val", b2="test", b3="test")
    with pytest.raises(UserError, match="no training image of class b"):
        build(split=file)


def test_a_class_missing_in_validation_is_a_note(build, root):
    data = build(split=split_file(root, a0="val", a1="test", b1="test"))
    assert "no image of class b in val: not covered by its metrics" in data.dataset.notes


def test_facts_are_plain_data(build):
    data = build()
    metadata = data.metadata()
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["prepare"] == data.transform.prepare_spec
    assert metadata["split_hash"] == data.split_hash()


@pytest.mark.parametrize("batch_size", [0, -4])
def test_a_batch_without_images_is_refused(build, batch_size):
    with pytest.raises(UserError, match=f"data.batch_size={batch_size}: expected a whole number, 1 or more"):
        build(setup=False, batch_size=batch_size)


def test_problems_of_the_data_set_stop_the_setup(build, root, draw_image):
    draw_image(root / "a" / "cell.png")
    with pytest.raises(UserError, match=r"1 names in which .* finds no group: a/cell\.png"):
        build()


@pytest.mark.parametrize(
    "augment, told",
    [
        (A.ToFloat(p=0.5), r"makes float32 images of shape \(32, 32, 3\), expected uint8 RGB of \(32, 32, 3\)"),
        (A.Normalize(p=1), "makes float32 images"),
        (A.Resize(16, 16), r"makes uint8 images of shape \(16, 16, 3\)"),
        (A.RandomCrop(99, 99), "fails: .*99"),
    ],
)
def test_an_augmentation_that_changes_type_or_size_is_refused_before_training(root, augment, told):
    data = CellDataModule("hemai.data.FolderDataset", ImagePipeline([A.Resize(32, 32)], [augment]), root)
    with pytest.raises(UserError, match=f"transform.augment {told}"):
        data.setup()


def test_a_list_of_transforms_without_pipeline_is_refused(root):
    with pytest.raises(UserError, match="transform: found list, expected an ImagePipeline"):
        CellDataModule("hemai.data.FolderDataset", [A.Resize(32, 32)], root)


class WriteThreads(A.ImageOnlyTransform):
    def apply(self, img, **_):
        return np.full_like(img, cv2.getNumThreads())


def test_each_worker_uses_one_thread_of_opencv(build):
    cv2.setNumThreads(2)
    data = build([WriteThreads(p=1)], num_workers=2)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].unique().tolist() == [1]  # also faster than many threads in each of many processes
