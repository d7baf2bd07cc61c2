import itertools
import json
import warnings

import albumentations as A
import cv2
import numpy as np
import pytest
from scipy import ndimage
from sklearn.cluster import KMeans

from hemai.config import compose
from hemai.data.images import read_image
from hemai.transforms import SegmentNucleus
from hemai.transforms.segment import apply_mask, clean_mask

SMEAR, RED_CELL, NUCLEUS = (245, 245, 250), (205, 190, 215), (120, 70, 190)


def draw_smear(height=224, width=224, nuclei=((60, 60, 20), (150, 160, 25)), background=SMEAR):
    """Red cells, and nuclei given as (x, y, radius), with noise."""
    image = np.full((height, width, 3), background, np.uint8)
    for x, y in itertools.product(range(20, width, 60), range(25, height, 60)):
        cv2.circle(image, (x, y), 12, RED_CELL if background == SMEAR else background, -1)
    for x, y, radius in nuclei:
        cv2.circle(image, (x, y), radius, NUCLEUS, -1)
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def discs(shape, nuclei):
    mask = np.zeros(shape, np.uint8)
    for x, y, radius in nuclei:
        cv2.circle(mask, (x, y), radius, 1, -1)
    return mask


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("size", [(224, 224), (450, 450), (768, 1024)])
@pytest.mark.parametrize("radius", [12, 25, 100])
def test_nuclei_are_found_and_never_the_rest(size, radius):
    radius = radius * min(size) // 224
    nuclei = [(size[1] // 2, size[0] // 2, radius)]
    mask = SegmentNucleus().segment(draw_smear(*size, nuclei)).mask
    assert dice(mask, discs(size, nuclei)) > 0.95


def test_a_cell_cut_out_on_black_is_kept_whole():
    image = np.zeros((450, 450, 3), np.uint8)
    cv2.circle(image, (220, 230), 80, (90, 50, 120), -1)
    cv2.circle(image, (225, 225), 60, (70, 25, 110), -1)
    assert dice(SegmentNucleus().segment(image).mask, discs((450, 450), [(220, 230, 80)])) > 0.99
    kept = SegmentNucleus()(image=image)["image"]
    assert np.array_equal(kept, image)


def test_a_change_of_white_balance_does_not_move_the_mask():
    image = draw_smear()
    warm = np.clip(image * [0.98, 0.93, 0.85], 0, 255).astype(np.uint8)
    assert dice(SegmentNucleus().segment(image).mask, SegmentNucleus().segment(warm).mask) > 0.97


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


def test_areas_and_margin_scale_with_the_image():
    small = draw_smear(nuclei=[(60, 60, 7), (150, 150, 20)])
    large = cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    for settings in ({"min_object_px": 200}, {"margin_px": 5}, {}):
        areas = [SegmentNucleus(**settings).segment(image).mask.mean() for image in (small, large)]
        assert areas[1] == pytest.approx(areas[0], rel=0.05)
    fixed = SegmentNucleus(min_object_px=400, reference_size=None)
    assert fixed.segment(large).mask.mean() > fixed.segment(small).mask.mean() * 1.05  # the small one is large enough


def test_the_margin_keeps_a_rim_of_its_width():
    nuclei = [(110, 110, 20)]
    mask = SegmentNucleus(margin_px=10).segment(draw_smear(nuclei=nuclei)).mask
    assert dice(mask, discs((224, 224), [(110, 110, 30)])) > 0.97


def test_outside_is_the_fill_colour_and_inside_the_image():
    image = draw_smear()
    mask = SegmentNucleus().segment(image).mask.astype(bool)
    result = SegmentNucleus(fill=(10, 20, 30))(image=image)["image"]
    assert (result[~mask] == (10, 20, 30)).all()
    assert np.array_equal(result[mask], image[mask])


@pytest.mark.parametrize(
    "image",
    [
        np.full((50, 60, 3), 200, np.uint8),
        np.zeros((50, 60, 3), np.uint8),
        np.full((1, 1, 3), 90, np.uint8),
        draw_smear(nuclei=[]),
    ],
    ids=["one colour", "black", "1 x 1", "no nucleus"],
)
def test_an_image_without_a_nucleus_stays_whole_and_is_told(image):
    transform = SegmentNucleus()
    assert np.array_equal(transform(image=image)["image"], image)
    assert transform.get_applied_params()["found"] is False
    assert (SegmentNucleus(if_none="fill", fill=(1, 2, 3))(image=image)["image"] == (1, 2, 3)).all()


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
    assert SegmentNucleus(nucleus=nucleus)._first_of_nucleus(centres) == first
    assert SegmentNucleus(nucleus=nucleus, min_contrast=79.9)._first_of_nucleus(centres) == 3


@pytest.mark.parametrize("position, name", enumerate("Lab"))
def test_every_channel_finds_the_nuclei_and_not_the_rest(position, name):
    nuclei = [(60, 60, 20), (150, 160, 25)]
    image = draw_smear(nuclei=nuclei)
    stages = SegmentNucleus(channel=name).segment(image)
    channel = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., position]
    assert np.array_equal(stages.channel, channel if name == "a" else 255 - channel)  # dark and blue: upper end
    assert dice(stages.mask, discs((224, 224), nuclei)) > 0.95


def test_a_dark_nucleus_does_not_hide_pale_ones():
    nuclei = [(60, 60, 20), (150, 160, 25), (60, 160, 20)]
    image = draw_smear(nuclei=nuclei)
    there = cv2.circle(np.zeros((224, 224), np.uint8), (190, 40), 10, 1, -1).astype(bool)
    image[there] = (95, 20, 190)  # a* of 197 instead of 170
    found = SegmentNucleus().segment(image).mask
    assert dice(found, discs((224, 224), [*nuclei, (190, 40, 10)])) > 0.95


@pytest.mark.parametrize("nucleus", ["upper", "top", 0])
def test_one_colour_holds_no_nucleus_by_any_rule(nucleus):
    image = np.full((50, 60, 3), 200, np.uint8)
    assert not SegmentNucleus(nucleus=nucleus, min_contrast=0, min_object_px=0).segment(image).found


def test_the_stages_lead_from_the_channel_to_the_mask():
    stages = SegmentNucleus().segment(draw_smear(nuclei=[(60, 60, 20), (150, 160, 3)]))
    nearest = np.abs(stages.channel[..., None] - stages.centres).argmin(axis=2)
    assert np.array_equal(stages.clustered, np.floor(stages.centres).astype(np.uint8)[nearest])
    cut = 0.55 * stages.centres[0] + 0.45 * stages.centres[-1]
    assert np.array_equal(stages.rough, stages.centres[nearest] > cut)
    assert np.array_equal(stages.mask, clean_mask(stages.rough, 100))
    assert stages.rough.sum() > stages.mask.sum() > 0  # the small disc is gone


def test_holes_scale_with_the_image_too():
    image = draw_smear(nuclei=[(110, 110, 40)])
    cv2.circle(image, (110, 110), 6, SMEAR, -1)  # 113 px
    for factor in (1, 3):
        larger = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        middle = 110 * factor
        assert SegmentNucleus(min_hole_px=200).segment(larger).mask[middle, middle] == 1
        assert SegmentNucleus(min_hole_px=60).segment(larger).mask[middle, middle] == 0


def settings_of(recipe):
    prepare = compose([f"transform={recipe}", "model.image_size=224"]).transform.prepare
    transforms = {name: {k: v for k, v in step.items() if k != "_target_"} for name, step in prepare.items()}
    return list(transforms), SegmentNucleus(**transforms["segment"])


def test_the_recipes_have_the_published_numbers():
    order, hosseini = settings_of("hosseini")
    assert order == ["resize", "segment"]
    assert (hosseini.clusters, hosseini.nucleus, hosseini.min_object_px, hosseini.reference_size) == (7, 141, 200, 224)
    assert (hosseini.min_hole_px, hosseini.min_contrast, hosseini.if_none) == (None, 0, "fill")
    augment = compose(["transform=hosseini"]).transform.augment
    assert [step["_target_"].split(".")[-1] for step in augment.values()] == ["HorizontalFlip", "VerticalFlip"]
    order, report = settings_of("report_segmented")
    assert (report.clusters, report.nucleus, report.min_object_px) == (2, "top", 200)
    assert settings_of("segmented")[0] == ["segment", "resize"]  # outlines keep their detail


def test_apply_mask_keeps_the_inside():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    mask = np.array([[1, 0], [0, 1]], np.uint8)
    assert apply_mask(image, mask).tolist() == [[[0, 1, 2], [0, 0, 0]], [[0, 0, 0], [9, 10, 11]]]


def test_every_image_has_a_mask_of_its_own():
    first, second = draw_smear(), draw_smear(nuclei=[(110, 110, 30)])
    alone = [SegmentNucleus()(image=image)["image"] for image in (first, second)]
    both = A.Compose([SegmentNucleus()], additional_targets={"other": "image"})(image=first, other=second)
    assert np.array_equal(both["image"], alone[0])
    assert np.array_equal(both["other"], alone[1])
    several = A.Compose([SegmentNucleus()])(images=np.stack([first, second]))["images"]
    assert np.array_equal(several, alone)
