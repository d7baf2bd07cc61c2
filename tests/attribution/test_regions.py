import albumentations as A
import cv2
import numpy as np
import pandas as pd
import pytest

from hemai.attribution.regions import find_regions, measure_regions, prepare_with_regions, summarise_regions
from hemai.transforms.controls import KeepTexture

CELL, NUCLEUS, RADII = (150, 100, 170), (80, 40, 120), (60, 40)


def disc(radius, side=200, centre=(100, 100)):
    return cv2.circle(np.zeros((side, side), np.uint8), centre, radius, 1, -1) > 0


def draw_cell(background=(0, 0, 0), radii=RADII):
    """A nucleus in a cell, as discs on one colour, with a little noise inside."""
    image = np.full((200, 200, 3), background, np.uint8)
    image[disc(radii[0])], image[disc(radii[1])] = CELL, NUCLEUS
    noise = np.random.default_rng(0).integers(-3, 4, image.shape)
    return np.where(disc(radii[0])[..., None], image + noise, image).astype(np.uint8)


def agreement(found, expected):
    """Dice."""
    return 2 * (found & expected).sum() / (found.sum() + expected.sum())


def test_a_cell_cut_out_on_black_has_its_dark_part_as_nucleus_and_the_rest_as_cytoplasm():
    regions = find_regions(draw_cell())
    assert agreement(regions == 1, disc(40)) > 0.97
    assert agreement(regions == 2, disc(60) & ~disc(40)) > 0.95
    assert agreement(regions == 0, ~disc(60)) > 0.99


def test_in_a_smear_a_rim_around_the_nucleus_is_cytoplasm():
    regions = find_regions(draw_cell(background=(240, 235, 235), radii=(40, 40)))
    rim = round(6 * 200 / 224)
    assert agreement(regions == 1, disc(40)) > 0.97
    assert agreement(regions > 0, disc(40 + rim)) > 0.97


@pytest.mark.parametrize("value", [0, 240])
def test_an_image_without_a_cell_is_background(value):
    assert not find_regions(np.full((64, 64, 3), value, np.uint8)).any()


def test_regions_follow_the_image_through_crop_and_resize():
    prepare = A.Compose([A.Crop(20, 40, 180, 200), A.Resize(80, 80, interpolation=cv2.INTER_AREA)])
    image, regions = prepare_with_regions(draw_cell(), prepare)
    assert image.shape == (80, 80, 3) and regions.shape == (80, 80)
    expected = cv2.circle(np.zeros((80, 80), np.uint8), (40, 30), 20, 1, -1) > 0  # half of the size, moved by the crop
    assert agreement(regions == 1, expected) > 0.95


def test_after_a_crop_that_no_mask_can_follow_regions_are_found_in_the_prepared_image():
    prepare = A.Compose([KeepTexture(), A.Resize(64, 64)])
    image, regions = prepare_with_regions(draw_cell(), prepare)
    assert np.array_equal(regions, find_regions(image))


def test_fractions_are_those_counted_by_hand():
    regions = np.array([[0, 0, 0, 1], [0, 0, 2, 1]], np.uint8)
    heat = np.array([[1, 0, 0, 4], [0, 0, 3, 2]], np.float32)
    assert measure_regions(heat, regions) == pytest.approx(
        {
            "nucleus": 0.6,
            "cytoplasm": 0.3,
            "background": 0.1,
            "nucleus_area": 0.25,
            "cytoplasm_area": 0.125,
            "background_area": 0.625,
        }
    )
    assert np.isnan(measure_regions(np.zeros((2, 4)), regions)["nucleus"])


def row(group, nucleus, area, explained="all"):
    attribution = {"nucleus": nucleus, "cytoplasm": 0.0, "background": 1 - nucleus}
    areas = {"nucleus_area": area, "cytoplasm_area": 0.0, "background_area": 1 - area}
    return {"method": "m", "explained": explained, "group": group} | attribution | areas


def test_each_patient_counts_once_and_images_without_a_cell_do_not():
    table = pd.DataFrame([row("1", 0.2, 0.1), row("1", 0.4, 0.3), row("2", 0.9, 0.4), row("2", 0.5, 0.0)])
    summary = summarise_regions(table).set_index("region")
    assert summary.loc["nucleus", ["images", "groups"]].tolist() == [3, 2]
    # Patient 1: 0.3 of the attribution on 0.2 of the area; patient 2: 0.9 on 0.4.
    assert summary.loc["nucleus", ["attribution", "area", "ratio"]].tolist() == pytest.approx([0.6, 0.3, 2.0])
    assert np.isnan(summary.loc["cytoplasm", "ratio"])
    images = summarise_regions(table.drop(columns="group")).set_index("region")
    assert images.loc["nucleus", "attribution"] == pytest.approx(0.5)
