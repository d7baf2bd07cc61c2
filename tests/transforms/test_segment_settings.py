import json
import warnings

import albumentations as A
import cv2
import numpy as np
import pytest
from scipy import ndimage
from sklearn.cluster import KMeans

from hemai.data.images import read_image
from hemai.settings.compose import compose
from hemai.settings.instantiate import build
from hemai.transforms import SegmentNucleus
from tests.smears import dice, draw_smear


def test_the_published_recipe_is_its_steps_done_one_by_one():
    """Hosseini et al. 2023: K-means of a* with K = 7, truncated centres above 141, holes filled, < 200 px removed."""
    settings = dict(compose(["transform=hosseini", "model.image_size=224"]).transform.prepare.segment)
    settings.pop("_target_")
    image = draw_smear()
    channel = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 1]
    fitted = KMeans(7, n_init=50, random_state=0).fit(channel.reshape(-1, 1).astype(float))
    replaced = fitted.cluster_centers_.astype(np.uint8)[fitted.labels_].reshape(channel.shape)
    objects, count = ndimage.label(ndimage.binary_fill_holes(replaced > 141), np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(objects), objects, range(count + 1))
    sizes[0] = 0
    expected = (sizes >= 200)[objects]
    result = SegmentNucleus(**settings)(image=image)["image"]
    assert expected.any()
    assert np.array_equal(result, image * expected[..., None])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.uint16),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
    ids=["grey", "one channel", "RGBA", "16 bits", "float", "empty"],
)
def test_other_images_are_refused_with_what_was_expected(image):
    with pytest.raises(ValueError, match=r"expected uint8 RGB"):
        SegmentNucleus().segment(image)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": "H"},
        {"clusters": 0},
        {"clusters": 257},
        {"nucleus": "lowest"},
        {"nucleus": 300},
        {"min_object_px": -1},
        {"reference_size": 0},
        {"margin_px": -1},
        {"fill": (0, 0, 256)},
        {"fill": (0, 0)},
        {"if_none": "skip"},
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SegmentNucleus(**wrong)


def test_a_misspelt_argument_is_told():
    with pytest.warns(UserWarning, match="cluster"):
        SegmentNucleus(cluster=3)


def test_it_survives_the_round_trip_through_plain_data():
    settings = {"channel": "b", "clusters": 4, "nucleus": 120, "fill": (9, 8, 7), "margin_px": 2.5, "if_none": "fill"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transform = A.Compose([SegmentNucleus(**settings)])
        again = A.from_dict(json.loads(json.dumps(A.to_dict(transform))))
    assert A.to_dict(again) == A.to_dict(transform)
    image = draw_smear()
    assert np.array_equal(again(image=image)["image"], transform(image=image)["image"])


def test_without_arguments_it_is_the_recipe_segmented():
    settings = dict(compose(["transform=segmented"]).transform.prepare.segment)
    del settings["_target_"]
    assert A.to_dict(SegmentNucleus(**settings)) == A.to_dict(SegmentNucleus())


def test_masks_agree_with_those_published(real_data):
    """Ghaderzadeh et al. 2022: 120 segmented images of class Early; inside is where any channel exceeds 40."""
    hosseini = dict(compose(["transform=hosseini"]).transform.prepare.segment)
    hosseini.pop("_target_")
    overlaps = []
    for file in sorted((real_data / "iranian_reference_segmentation").rglob("*.jpg")):
        reference = (read_image(file).max(axis=2) > 40).astype(np.uint8)
        image = read_image(next((real_data / "iranian").rglob(file.name)))
        masks = [SegmentNucleus(**settings).segment(image).mask for settings in ({}, hosseini)]
        overlaps.append([dice(mask, reference) for mask in masks])
    segmented, published = np.mean(overlaps, axis=0)
    assert len(overlaps) == 120
    assert published >= 0.84
    assert segmented >= published


@pytest.mark.parametrize(
    "nucleus, first",
    [("upper", 1), ("top", 2), (141, 2), (140.0, 1), (200, 3), (99, 0)],
)
def test_the_clusters_of_the_nucleus_by_hand(nucleus, first):
    centres = np.array([100.2, 141.9, 180.0])  # 0.45 of the way up: 136.1; truncated: 100, 141, 180
    assert SegmentNucleus(nucleus=nucleus)._lowest_nucleus_cluster(centres) == first
    assert SegmentNucleus(nucleus=nucleus, min_contrast=79.9)._lowest_nucleus_cluster(centres) == 3


@pytest.mark.parametrize("nucleus", ["upper", "top", 0])
def test_one_colour_holds_no_nucleus_by_any_rule(nucleus):
    image = np.full((50, 60, 3), 200, np.uint8)
    assert not SegmentNucleus(nucleus=nucleus, min_contrast=0, min_object_px=0).segment(image).found


def steps_of(recipe):
    return build(compose([f"transform={recipe}", "model.image_size=64"]).transform).prepare


@pytest.mark.parametrize(
    "recipe, numbers",
    [
        ("segmented", ("a", 7, "upper", 18, 100, None, 224, 0, "keep")),
        ("segmented_augmented", ("a", 7, "upper", 18, 100, None, 224, 0, "keep")),
        ("hosseini", ("a", 7, 141, 0, 200, None, 224, 0, "fill")),
        ("report_segmented", ("a", 2, "top", 0, 200, None, 224, 0, "fill")),
    ],
)
def test_the_recipes_have_the_numbers_that_their_sources_name(recipe, numbers):
    segment = next(step for step in steps_of(recipe) if isinstance(step, SegmentNucleus))
    assert (
        segment.channel, segment.clusters, segment.nucleus, segment.min_contrast, segment.min_object_px,
        segment.min_hole_px, segment.reference_size, segment.margin_px, segment.if_none,
    ) == numbers  # fmt: skip


def test_published_recipes_segment_at_224_px_and_ours_at_full_size():
    for recipe in ("hosseini", "report_segmented"):
        before, _, after = steps_of(recipe)
        assert (before.height, before.width, before.interpolation) == (224, 224, cv2.INTER_LINEAR)
        assert (after.height, after.width) == (64, 64)
    segment, resize = steps_of("segmented")
    assert isinstance(segment, SegmentNucleus)
    assert (resize.height, resize.interpolation) == (64, cv2.INTER_AREA)


def test_recipes_with_flips_and_turns():
    names = {}
    for recipe in ("hosseini", "report_segmented", "segmented", "segmented_augmented", "augmented"):
        augment = compose([f"transform={recipe}"]).transform.augment or {}
        names[recipe] = [step["_target_"].split(".")[-1] for step in augment.values()]
    assert names["hosseini"] == ["HorizontalFlip", "VerticalFlip"]
    assert names["report_segmented"] == names["segmented"] == []
    assert names["segmented_augmented"] == names["augmented"] != []
