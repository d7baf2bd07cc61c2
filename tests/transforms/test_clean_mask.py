import numpy as np
import pytest
from scipy import ndimage

from hemai.transforms.segment import clean_mask


def cleaned_slowly(mask, min_object_px, min_hole_px):
    """By connected components: an area counts all that an outline encloses."""
    everywhere = np.ones((3, 3))
    result = mask.copy()
    holes, count = ndimage.label(1 - np.pad(mask, 1))  # 4-connected; the frame joins the outside
    outside = holes[0, 0]
    for label in set(range(1, count + 1)) - {outside}:
        hole = ndimage.binary_fill_holes(holes == label, everywhere)[1:-1, 1:-1]
        if min_hole_px is None or hole.sum() < min_hole_px:
            result[hole] = 1
    objects, count = ndimage.label(result, everywhere)
    for label in range(1, count + 1):
        if ndimage.binary_fill_holes(objects == label).sum() < min_object_px:
            result[objects == label] = 0
    return result


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.7])
@pytest.mark.parametrize("limits", [(0, 0), (5, None), (12, 3), (40, 10), (3, 1000), (1, 2)])
def test_clean_up_agrees_with_connected_components(share, limits):
    rng = np.random.default_rng(int(share * 10))
    for blurred in (False, True):
        noise = rng.random((60, 70))
        if blurred:
            noise = ndimage.gaussian_filter(noise, 1.5)
        mask = (noise < np.quantile(noise, share)).astype(np.uint8)
        assert np.array_equal(clean_mask(mask, *limits), cleaned_slowly(mask, *limits))


def test_areas_count_pixels_and_the_limit_itself_stays():
    mask = np.zeros((20, 20), np.uint8)
    mask[2:7, 2:12] = 1  # 50 px
    mask[10, 3] = 1
    assert clean_mask(mask, 50).sum() == 50
    assert clean_mask(mask, 51).sum() == 0
    assert clean_mask(mask, 1).sum() == 51


def test_clean_up_leaves_its_input_alone():
    mask = np.pad(np.ones((10, 10), np.uint8), 15)
    before = mask.copy()
    clean_mask(mask, 1000)
    clean_mask(mask, 1000, 10)
    assert np.array_equal(mask, before)
