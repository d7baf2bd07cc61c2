import cv2
import numpy as np
import pytest

from hemai.evaluation.shortcuts import FEATURES, fit_logistic_regression, measure_files


@pytest.fixture
def files(tmp_path):
    """A nucleus on a ground, of two sizes, with a bar in the corner of the second."""
    files = []
    for number, radius in ((7, 20), (12, 40)):
        image = np.full((240, 320, 3), (245, 245, 250), np.uint8)
        cv2.circle(image, (160, 120), radius, (120, 70, 190), -1)
        if number == 12:
            image[-12:, -40:] = 0
        files.append(tmp_path / f"Snap_{number:03}.png")
        cv2.imwrite(str(files[-1]), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return files


def test_numbers_of_images_by_hand(files):
    found = measure_files(files)
    assert found.keys() == FEATURES.keys()
    areas = [cv2.circle(np.zeros((240, 320), np.uint8), (160, 120), radius, 1, -1).sum() for radius in (20, 40)]
    assert found["cell area"][:, 0] == pytest.approx(areas, rel=0.03)
    assert found["cell area"][:, 1] == pytest.approx(np.array(areas) / (240 * 320), rel=0.03)
    assert found["image size"].tolist() == [[240, 320]] * 2
    assert found["file size"].ravel().tolist() == [file.stat().st_size for file in files]
    assert found["file order"].ravel().tolist() == [7, 12]
    ground = np.array([245, 245, 250])
    assert found["border"][0] == pytest.approx(np.tile(ground, 4))
    assert found["corner, top left"] == pytest.approx(np.tile(ground, (2, 60)))
    assert found["corner, bottom right"][1].reshape(5, 12, 3)[-1, -1].tolist() == [0, 0, 0]
    share = areas[0] / (240 * 320)
    expected = (1 - share) * ground + share * np.array([120, 70, 190])
    assert found["mean colour"][0] == pytest.approx(expected, abs=0.3)


def test_a_number_that_tells_the_classes_apart_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 400)
    fit, test = np.arange(300), np.arange(300, 400)
    for signal, lowest, highest in ((3.0, 0.9, 1.0), (0.0, 0.3, 0.7)):
        features = (targets * signal + rng.normal(0, 1, 400))[:, None]
        logits = fit_logistic_regression(features[fit], targets[fit], features[test], 3)
        assert logits.shape == (100, 3)
        assert lowest <= (logits.argmax(axis=1) == targets[test]).mean() <= highest
