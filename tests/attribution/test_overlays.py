import numpy as np

from hemai.attribution.overlays import overlay

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def test_without_attribution_an_overlay_is_the_image():
    assert np.array_equal(overlay(IMAGE, np.zeros((40, 50), np.float32)), IMAGE)


def test_the_attribution_is_yellow_and_the_rest_stays():
    heat = np.zeros((40, 50), np.float32)
    heat[10:20, 10:20] = 1
    drawn = overlay(IMAGE, heat)
    assert drawn.dtype == np.uint8 and np.array_equal(drawn[25:], IMAGE[25:])
    red, green, blue = drawn[12:18, 12:18].reshape(-1, 3).astype(int).mean(axis=0)
    assert red > blue + 50 and green > blue + 50
