"""Cells of drawn smears, whose number and places are known."""

import cv2
import numpy as np
import pytest

from hemai.transforms.cells import find_cells, find_nuclei

PLASMA, RED_CELL, NUCLEUS = (235, 225, 230), (205, 160, 165), (95, 45, 140)


def smear(nuclei, red_cells=(), height=300, width=400, radius=15):
    """A smear with nuclei and red cells at (x, y), blurred and with the noise of a camera."""
    image = np.full((height, width, 3), PLASMA, np.uint8)
    for x, y in red_cells:
        cv2.circle(image, (x, y), radius, RED_CELL, cv2.FILLED)
    for x, y in nuclei:
        cv2.circle(image, (x, y), radius, NUCLEUS, cv2.FILLED)
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1) + noise, 0, 255).astype(np.uint8)


SCATTERED = [(50, 40), (200, 60), (330, 90), (120, 160), (260, 200), (60, 250), (340, 240)]


def centres_of(boxes):
    return sorted(((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_nucleus_has_a_box_around_it_and_red_cells_have_none(count):
    nuclei = SCATTERED[:count]
    boxes = find_cells(smear(nuclei, red_cells=[(150, 100), (200, 250), (380, 160)]))
    assert centres_of(boxes) == [pytest.approx(nucleus, abs=2) for nucleus in sorted(nuclei)]


def test_a_box_is_as_many_diameters_wide_as_asked_and_square():
    for field in (1.5, 2.5):
        boxes = find_cells(smear(SCATTERED), field)
        sides = np.column_stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]])
        assert sides.min() == sides.max() == pytest.approx(field * 30, abs=3)


def test_touching_nuclei_are_told_apart():
    nuclei = [(100, 100), (128, 100), (150, 118), (250, 200)]  # three touch: their centres are 28 px apart
    assert centres_of(find_cells(smear(nuclei))) == [pytest.approx(nucleus, abs=3) for nucleus in sorted(nuclei)]


def test_platelets_are_left_out():
    image = smear(SCATTERED)
    for x, y in [(20, 100), (300, 30), (180, 130)]:
        cv2.circle(image, (x, y), 4, NUCLEUS, cv2.FILLED)
    assert len(find_cells(image)) == len(SCATTERED)


def test_a_nucleus_that_the_edge_cuts_is_found_but_has_no_box():
    image = smear([*SCATTERED, (392, 150), (200, 6)])
    nuclei = find_nuclei(image)
    assert nuclei.at_edge.sum() == 2
    assert len(nuclei.radii) == len(SCATTERED) + 2
    assert len(find_cells(image)) == len(SCATTERED)


def test_a_box_near_the_edge_is_moved_into_the_image():
    boxes = find_cells(smear([(20, 20), (380, 280), (200, 150)]))
    assert boxes.min() == 0
    assert boxes[:, 2].max() == 400 and boxes[:, 3].max() == 300
    assert len({right - left for left, _, right, _ in boxes}) == 1


@pytest.mark.parametrize("scale", [2, 4, 12])
def test_magnification_does_not_change_what_is_found(scale):
    image = smear(SCATTERED)
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    boxes, expected = find_cells(large) / scale, find_cells(image)
    assert centres_of(boxes) == [pytest.approx(centre, abs=2) for centre in centres_of(expected)]


def test_cells_cut_out_on_black_are_found():
    image = np.zeros((300, 400, 3), np.uint8)
    for x, y in SCATTERED:
        cv2.circle(image, (x, y), 15, NUCLEUS, cv2.FILLED)
    assert centres_of(find_cells(image)) == [pytest.approx(nucleus, abs=1) for nucleus in sorted(SCATTERED)]


@pytest.mark.parametrize("image", [np.full((40, 60, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8), smear([])])
def test_an_image_without_nuclei_has_no_boxes(image):
    assert find_cells(image).shape == (0, 4)


def test_of_an_image_smaller_than_a_box_the_box_is_the_largest_square():
    boxes = find_cells(smear([(30, 20)], height=40, width=60, radius=12), field=4)
    assert boxes.tolist() == [[10, 0, 50, 40]]
