"""Augmentation makes the bytes of albumentations, without its bookkeeping."""

import random

import albumentations as A
import cv2
import numpy as np
import pytest

from hemai.settings.compose import compose
from hemai.settings.instantiate import build
from hemai.transforms import StainJitter
from hemai.transforms.augmentation import Augmentation
from hemai.transforms.direct import direct_function
from hemai.transforms.random_numbers import RandomNumbers
from hemai.utils.errors import UserError


def cells(size=(40, 56), count=24):
    """Blots of any colour on black, or on a bright background in every third image."""
    rng = np.random.default_rng(0)
    for number in range(count):
        image = cv2.GaussianBlur(rng.integers(0, 256, (*size, 3), np.uint8), (0, 0), 3)
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
        image[:, :10] = 230 if number % 3 == 0 else 0
        yield image


def differences(transforms):
    """Number of images of which `Augmentation` makes other bytes than albumentations itself."""
    composed = A.Compose(transforms, strict=True)
    augment = Augmentation(composed)
    count = 0
    for index, image in enumerate(cells()):
        composed.set_random_state(np.random.default_rng((3, 1, index)), random.Random(f"3-1-{index}"))
        count += not np.array_equal(composed(image=image)["image"], augment(image, RandomNumbers(3, 1, index)))
    return count


@pytest.mark.parametrize("name", ["flips", "augmented", "single_cells", "single_cells_stain", "hosseini"])
def test_every_recipe_makes_the_bytes_of_albumentations(name):
    assert differences(list(build(compose([f"transform={name}"]).transform).augment.transforms)) == 0


@pytest.mark.parametrize("name", ["flips", "augmented", "single_cells"])
def test_every_transform_of_the_recipes_is_applied_directly(name):
    transforms = build(compose([f"transform={name}"]).transform).augment.transforms
    assert all(direct_function(transform) for transform in transforms)


@pytest.mark.parametrize(
    "transform",
    [
        A.Affine(
            rotate=(-30, 30), translate_px={"x": (-4, 9), "y": (-2, 2)}, scale={"x": (0.5, 1), "y": (1, 1.5)}, p=0.7
        ),
        A.Affine(rotate=45, translate_percent=(-0.2, 0.3), border_mode=cv2.BORDER_CONSTANT, fill=(10, 200, 90), p=1),
        A.Affine(rotate=90, interpolation=cv2.INTER_NEAREST, border_mode=cv2.BORDER_REPLICATE, fill=7.0, p=0.5),
        A.Affine(rotate=90, interpolation=cv2.INTER_CUBIC, p=1),
        A.Affine(shear=(-20, 20), p=0.9),
        A.Affine(scale=(0.5, 1.5), balanced_scale=True, p=0.9),
        A.RandomGamma((40, 300), p=0.6),
        A.MultiplicativeNoise((0, 3), per_channel=False, p=0.9),
        A.MultiplicativeNoise((0.2, 2), per_channel=True, p=1),
        A.MultiplicativeNoise((0.2, 2), elementwise=True, p=0.8),
        A.HueSaturationValue(180, 255, 255, p=1),
        A.HueSaturationValue(0, (-90, -90), 0, p=1),
        A.HueSaturationValue(0, (0.5, 0.5), (-0.5, 0.5), p=1),
        A.HueSaturationValue(0, 0, 0, p=0.5),
        A.HorizontalFlip(p=0),
        A.VerticalFlip(p=1),
    ],
    ids=str,
)
def test_a_transform_with_any_settings_makes_the_bytes_of_albumentations(transform):
    assert differences([transform]) == 0


def test_other_transforms_keep_their_place_and_their_random_numbers_between_direct_ones():
    choice = A.OneOf([A.RandomGamma(p=1), A.GaussNoise(p=1)], p=0.8)
    assert differences([A.HorizontalFlip(), choice, A.Affine(rotate=30, p=0.8), StainJitter(), A.VerticalFlip()]) == 0


def test_another_seed_epoch_or_index_gives_other_random_numbers():
    keys = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0)]
    numbers = [(RandomNumbers(*key).python.random(), RandomNumbers(*key).numpy.random()) for key in keys]
    assert len(set(numbers)) == 4
    assert numbers[3] == (RandomNumbers(0, 0, 0).python.random(), RandomNumbers(0, 0, 0).numpy.random())


def test_a_direct_transform_leaves_the_image_that_it_was_given_as_it_is():
    image = next(cells())
    before = image.copy()
    for name in ("flips", "augmented"):
        augment = Augmentation(build(compose([f"transform={name}"]).transform).augment)
        for index in range(8):
            augment(image, RandomNumbers(0, 0, index))
    np.testing.assert_array_equal(image, before)


def test_a_change_of_size_is_refused():
    with pytest.raises(UserError, match="expected uint8 RGB of"):
        Augmentation(A.Compose([A.Resize(8, 8)]))(next(cells()), RandomNumbers(0, 0, 0))
