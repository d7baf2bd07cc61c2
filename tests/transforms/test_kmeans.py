import itertools

import cv2
import numpy as np
import pytest
from sklearn.cluster import KMeans

from hemai.data.images import read_image
from hemai.transforms.kmeans import cluster_histogram


def sum_of_squares(values, counts, labels):
    clusters = [labels == label for label in np.unique(labels)]
    means = [np.average(values[c], weights=counts[c]) if counts[c].any() else 0 for c in clusters]
    return sum((counts[c] * (values[c] - mean) ** 2).sum() for c, mean in zip(clusters, means, strict=True))


def histogram_of(channel):
    return np.bincount(channel.ravel(), minlength=256)


def test_two_clusters_of_four_values_by_hand():
    centres, cluster_of_value = cluster_histogram(histogram_of(np.array([10, 20, 200, 210], np.uint8)), 2)
    assert centres.tolist() == [15, 205]
    assert cluster_of_value[[10, 20, 200, 210]].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("clusters", [1, 2, 3, 4])
def test_the_sum_of_squares_is_that_of_brute_force(seed, clusters):
    rng = np.random.default_rng(seed)
    values = np.sort(rng.choice(256, 9, replace=False))
    counts = rng.integers(1, 50, 9)
    histogram = np.zeros(256)
    histogram[values] = counts
    least = min(
        sum_of_squares(values, counts, np.searchsorted(borders, np.arange(9), side="right"))
        for borders in itertools.combinations(range(1, 9), clusters - 1)
    )
    centres, cluster_of_value = cluster_histogram(histogram, clusters)
    labels = cluster_of_value[values]
    assert len(centres) == clusters
    assert sum_of_squares(values, counts, labels) == pytest.approx(least)
    for label, centre in enumerate(centres):
        assert centre == pytest.approx(np.average(values[labels == label], weights=counts[labels == label]))


@pytest.mark.parametrize("clusters", [2, 5, 7])
def test_the_sum_of_squares_is_never_above_the_best_of_20_restarts_of_scikit_learn(clusters):
    rng = np.random.default_rng(0)
    parts = [rng.normal(mean, sd, count) for mean, sd, count in ((127, 3, 3000), (138, 4, 800), (165, 8, 400))]
    channel = np.concatenate(parts).astype(np.uint8)  # background, red cells, nuclei
    assert_not_above_scikit_learn(channel, clusters)


@pytest.mark.parametrize("clusters", [2, 5, 7])
def test_so_it_is_on_published_images(real_data, clusters):
    for file in sorted((real_data / "iranian").rglob("*.jpg"))[::700]:
        assert_not_above_scikit_learn(cv2.cvtColor(read_image(file), cv2.COLOR_RGB2LAB)[..., 1], clusters)


def assert_not_above_scikit_learn(channel, clusters):
    histogram = histogram_of(channel)
    values = np.flatnonzero(histogram)
    fitted = KMeans(clusters, n_init=20, random_state=0).fit(values[:, None], sample_weight=histogram[values])
    _, cluster_of_value = cluster_histogram(histogram, clusters)
    assert sum_of_squares(values, histogram[values], cluster_of_value[values]) <= fitted.inertia_ * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_two_clusters_are_otsus(seed):
    rng = np.random.default_rng(seed)
    channel = np.clip(np.where(rng.random((80, 80)) < 0.2, rng.normal(170, 20), rng.normal(100, 25, (80, 80))), 0, 255)
    channel = channel.astype(np.uint8)
    _, otsu = cv2.threshold(channel, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    assert np.array_equal(cluster_histogram(histogram_of(channel), 2)[1][channel], otsu)


def test_one_cluster_is_the_mean():
    channel = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    centres, cluster_of_value = cluster_histogram(histogram_of(channel), 1)
    assert centres == pytest.approx([channel.mean()])
    assert not cluster_of_value.any()


@pytest.mark.parametrize("clusters", [255, 256])
def test_every_value_can_have_a_cluster_of_its_own(clusters):
    centres, cluster_of_value = cluster_histogram(np.ones(256), clusters)
    assert len(centres) == clusters
    assert len(np.unique(cluster_of_value)) == clusters


def test_there_are_never_more_clusters_than_values():
    centres, cluster_of_value = cluster_histogram(histogram_of(np.array([7, 7, 9], np.uint8)), 5)
    assert centres.tolist() == [7, 9]
    assert cluster_of_value[[7, 9]].tolist() == [0, 1]


@pytest.mark.parametrize("histogram, clusters", [(np.zeros(256), 2), (np.ones(10), 2), (np.ones(256), 0)])
def test_what_cannot_be_clustered_is_refused(histogram, clusters):
    with pytest.raises(ValueError, match="256"):
        cluster_histogram(histogram, clusters)
