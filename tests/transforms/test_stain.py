import cv2
import numpy as np
import pytest

from hemai.transforms import OpticalDensity, StainJitter

RNG = np.random.default_rng(0)
CELL = np.zeros((40, 40, 3), np.uint8)
CELL[10:30, 5:35] = RNG.integers(90, 170, (20, 30, 3))
INSIDE = CELL.any(axis=2)


def lab(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[INSIDE].astype(float)


def jittered(shifts, factors):
    return StainJitter().apply(CELL, shifts=np.array(shifts, float), factors=np.array(factors, float))


def test_the_mean_of_each_channel_is_shifted_and_black_stays_black():
    changed = jittered([10, -4, 6], [1, 1, 1])
    assert lab(changed).mean(axis=0) - lab(CELL).mean(axis=0) == pytest.approx([10, -4, 6], abs=1)
    assert not changed[~INSIDE].any()


def test_the_spread_of_each_channel_is_stretched():
    changed = jittered([0, 0, 0], [0.5, 0.8, 0.6])
    assert lab(changed).std(axis=0) / lab(CELL).std(axis=0) == pytest.approx([0.5, 0.8, 0.6], abs=0.06)


def test_shifts_and_factors_are_drawn_with_the_given_deviations():
    transform = StainJitter(shift=5, stretch=0.2)
    transform.set_random_seed(0)
    drawn = [transform.get_params() for _ in range(2_000)]
    shifts = np.array([each["shifts"] for each in drawn])
    factors = np.log([each["factors"] for each in drawn])
    assert shifts.mean() == pytest.approx(0, abs=0.2) and shifts.std() == pytest.approx(5, rel=0.03)
    assert factors.mean() == pytest.approx(0, abs=0.01) and factors.std() == pytest.approx(0.2, rel=0.03)


def test_one_seed_gives_one_image():
    images = []
    for seed in (1, 1, 2):
        transform = StainJitter(p=1)
        transform.set_random_seed(seed)
        images.append(transform(image=CELL)["image"])
    assert np.array_equal(images[0], images[1]) and not np.array_equal(images[0], images[2])


def test_a_black_image_stays_black():
    assert not StainJitter(p=1)(image=np.zeros((8, 8, 3), np.uint8))["image"].any()


@pytest.mark.parametrize("settings", [{"shift": -1}, {"stretch": float("nan")}])
def test_impossible_deviations_are_refused(settings):
    with pytest.raises(ValueError, match="expected numbers, 0 or more"):
        StainJitter(**settings)


def test_optical_density_is_linear_in_the_amount_of_dye():
    light = np.array([255, 127, 63, 31, 15, 7, 3, 1, 0], np.uint8)  # each half of the one before it, plus one: 256, 128
    image = np.repeat(light[None, :, None], 3, axis=2)
    found = OpticalDensity()(image=image)["image"][0, :, 0]
    assert found.tolist() == [255, 223, 191, 159, 128, 96, 64, 32, 0]  # 255 * 8/8, 7/8, ..., rounded
