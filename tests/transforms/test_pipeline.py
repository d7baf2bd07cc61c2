import json
import warnings

import albumentations as A
import numpy as np
import pytest
import torch

from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def test_the_spec_is_plain_data_that_makes_the_same_images():
    recipe = ImagePipeline([A.CenterCrop(50, 50), A.Resize(24, 32, interpolation=3)])
    again = A.from_dict(json.loads(json.dumps(recipe.prepare_spec)))
    assert json.loads(json.dumps(recipe.prepare_spec)) == recipe.prepare_spec
    assert np.array_equal(again(image=IMAGE)["image"], A.Compose(recipe.prepare)(image=IMAGE)["image"])
    assert again(image=IMAGE)["image"].shape == (24, 32, 3)


def test_the_spec_can_be_stored_in_a_checkpoint(tmp_path):
    spec = ImagePipeline([A.Resize(24, 32)]).prepare_spec
    torch.save(spec, tmp_path / "spec.ckpt")
    assert torch.load(tmp_path / "spec.ckpt", weights_only=True) == spec


def spec(prepare, augment=None):
    return ImagePipeline(prepare, augment).prepare_spec


def test_the_spec_follows_the_settings():
    assert spec([A.Resize(24, 32)]) == spec([A.Resize(24, 32)], [A.HorizontalFlip()])
    assert spec([A.Resize(24, 32)]) != spec([A.Resize(24, 33)])
    assert spec([A.Resize(24, 32)]) != spec([A.Resize(24, 32, interpolation=3)])


@pytest.mark.parametrize("augment", [None, []])
def test_without_random_transforms_nothing_is_augmented(augment):
    assert ImagePipeline([A.Resize(24, 32)], augment).augment is None


@pytest.mark.parametrize("place", ["prepare", "augment"])
def test_a_misspelt_argument_is_an_error(place):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as notebooks, pytest and some libraries do
        misspelt = A.Resize(height=24, width=32, hight=24)
    with pytest.raises(ValueError, match=r"hight.* not valid for transform Resize"):
        ImagePipeline(**{"prepare": [A.Resize(24, 32)], place: [misspelt]})


def test_a_random_transform_in_the_prepare_list_is_refused():
    with pytest.raises(ValueError, match="HorizontalFlip"):
        ImagePipeline([A.HorizontalFlip(p=0.5), A.Resize(24, 32)])


def test_a_composition_in_the_prepare_list_is_refused():
    with pytest.raises(ValueError, match="one by one"):
        ImagePipeline([A.Sequential([A.CenterCrop(50, 50), A.Resize(24, 32)], p=1)])


def test_a_transform_can_be_left_out_by_null():
    assert (
        ImagePipeline({"crop": None, "resize": A.Resize(24, 32)}).prepare_spec
        == ImagePipeline([A.Resize(24, 32)]).prepare_spec
    )


@pytest.mark.parametrize("place", ["prepare", "augment"])
@pytest.mark.parametrize(
    "transforms, told",
    [
        (A.Resize(8, 8), "found Resize, expected a list of transforms"),
        (3, "found int, expected a list"),
        ("Resize", "found str, expected a list"),
        ([3], "found 3, which is no transform"),
        (["Resize"], "found 'Resize', which is no transform"),
        ([A.Resize], r"Resize is a class; call it: Resize\(...\)"),
    ],
)
def test_what_is_no_list_of_transforms_is_refused(place, transforms, told):
    with pytest.raises(UserError, match=f"transform.{place}: {told}"):
        ImagePipeline(**{"prepare": [], place: transforms})


def test_no_prepare_list_is_refused():
    with pytest.raises(UserError, match="transform.prepare: found NoneType, expected a list"):
        ImagePipeline(None)
