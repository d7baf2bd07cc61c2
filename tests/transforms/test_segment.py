import albumentations as A
import cv2
import numpy as np
import pytest

from hemai.transforms import SegmentNucleus
from hemai.transforms.segment import apply_mask, clean_mask
from tests.smears import SMEAR, dice, discs, draw_smear


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
