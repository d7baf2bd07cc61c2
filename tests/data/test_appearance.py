"""Whether an image is told to be unlike the training images."""

import cv2
import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from hemai.data.appearance import (
    _limit,
    distance_to,
    is_appearance,
    load_appearance,
    measure_appearance,
    summarise_appearance,
)


def draw_cells(count, seed, nucleus=(95, 45, 140), plasma=(235, 225, 230)):
    """Images of one cell each, 64 x 64 px, of random size and stain."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        stain = rng.normal(0, 6, 3)
        image = np.full((64, 64, 3), np.clip(np.array(plasma) + stain, 0, 255), np.uint8)
        centre = tuple(int(place) for place in rng.integers(28, 36, 2))
        cv2.circle(image, centre, int(rng.integers(12, 18)), [float(c) for c in np.array(nucleus) + stain], cv2.FILLED)
        images.append(np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8))
    return np.array(images)


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    images = draw_cells(300, seed=0)
    files = [tmp_path_factory.mktemp("cells") / f"{number}.png" for number in range(300)]
    for file, image in zip(files, images, strict=True):
        cv2.imwrite(str(file), cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (96, 96)))
    return summarise_appearance(images, np.arange(300), files, [str(number % 10) for number in range(300)])


def test_new_cells_of_the_same_kind_are_like_the_training_images(summary):
    unlike = [distance_to(summary, image) > 1 for image in draw_cells(300, seed=1)]
    assert np.mean(unlike) < 0.03


def test_the_limit_allows_for_patients_who_differ_from_each_other():
    def limit(groups):
        stains = {group: np.random.default_rng(group).normal(0, 25, 3) for group in set(groups)}
        cells = [draw_cells(1, seed, plasma=np.array([200, 180, 190]) + stains[g])[0] for seed, g in enumerate(groups)]
        features = np.array([measure_appearance(cell) for cell in cells])
        return _limit(features, np.array(groups)), _limit(features, np.zeros(len(groups)))

    of_patients, of_all = limit([number // 20 for number in range(120)])
    assert of_patients > 1.3 * of_all


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.full_like(image, 255),
        lambda image: np.random.default_rng(0).integers(0, 256, image.shape, np.uint8),
        lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
        lambda image: np.ascontiguousarray(image[..., ::-1]),
        lambda image: cv2.GaussianBlur(image, (0, 0), 6),
        lambda image: image // 3,
    ],
    ids=["white", "noise", "grey", "blue and red swapped", "blurred", "dark"],
)
def test_images_of_another_kind_are_unlike_the_training_images(summary, change):
    assert all(distance_to(summary, change(image)) > 1 for image in draw_cells(20, seed=2))


def test_the_distance_is_that_of_mahalanobis_over_its_limit(summary):
    image = draw_cells(1, seed=3)[0]
    mean, std = np.array(summary["mean"]), np.array(summary["std"])
    expected = mahalanobis((measure_appearance(image) - mean) / std, np.zeros(8), summary["precision"])
    assert distance_to(summary, image) == pytest.approx(expected / summary["limit"])


def test_nuclei_side_and_field_are_those_of_the_files(summary):
    assert summary["nuclei"] == 1
    assert summary["side"] == 96
    assert summary["field"] == pytest.approx(64 / 29, rel=0.1)  # radii of 12 to 17 px, median 14.5


def test_a_summary_of_equal_images_without_nuclei_has_no_field_and_is_valid(tmp_path):
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((20, 30, 3), 255, np.uint8))
    images = np.full((4, 20, 30, 3), 255, np.uint8)
    blank = summarise_appearance(images, np.arange(4), [tmp_path / "blank.png"] * 4, ["a"] * 4)
    assert blank["field"] is None and blank["nuclei"] == 0 and blank["side"] == 20
    assert is_appearance(blank)
    assert distance_to(blank, images[0]) == 0


def test_a_damaged_summary_is_recognised(summary):
    assert is_appearance(summary)
    for name, value in [
        ("std", [0.0] * 8),
        ("mean", [1.0]),
        ("limit", 0),
        ("precision", "no"),
        ("field", -1),
        ("side", {}),
    ]:
        assert not is_appearance({**summary, name: value})
    assert not is_appearance({name: value for name, value in summary.items() if name != "field"})
    assert not is_appearance([1])


def test_a_summary_is_kept_and_computed_anew_only_if_damaged(tmp_path, monkeypatch):
    images, rows, groups = draw_cells(20, seed=0), np.arange(20), [str(number % 4) for number in range(20)]
    cv2.imwrite(str(tmp_path / "cell.png"), images[0])
    given = (tmp_path, images, rows, [tmp_path / "cell.png"] * 20, groups)
    first = load_appearance(*given)
    (kept,) = tmp_path.glob("appearance-*.json")
    kept.write_text(kept.read_text()[:40])
    again = load_appearance(*given)
    assert again["mean"] == pytest.approx(first["mean"])
    monkeypatch.setattr("hemai.data.appearance.summarise_appearance", lambda *_: pytest.fail("computed again"))
    assert load_appearance(*given) == again
