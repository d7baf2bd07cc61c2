"""Exact K-means of an 8-bit channel."""

from __future__ import annotations

import numpy as np

POWERS = np.arange(256.0) ** np.arange(3)[:, None]
EMPTY_INTERVAL = ~np.tri(256, dtype=bool)


def cluster_histogram(histogram: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact K-means of an 8-bit channel from its histogram, at a cost independent of the image size.

    Clusters of numbers on a line are intervals, so dynamic programming over their borders finds the
    global minimum of the sum of squares, where Lloyd's iterations find one of many local minima. For two
    clusters this is Otsu's threshold.

    Args:
        histogram: Counts of the values 0 to 255, shape (256,), at least one above 0.
        clusters: Number of clusters, 1 to 256; at most the number of distinct values is used.

    Returns:
        Centres, float, ascending, (k,); and the cluster index of each value, uint8, (256,).

    Raises:
        ValueError: `histogram` is empty or has another shape, or `clusters` is out of range.

    Source: Wang & Song, Ckmeans.1d.dp, R Journal 3/2 (2011), on a histogram. Otsu, IEEE Trans. SMC 9 (1979).
    """
    histogram = np.asarray(histogram).ravel()
    if histogram.shape != (256,) or not histogram.any() or not 1 <= clusters <= 256:
        raise ValueError(
            f"expected 256 counts, not all 0, and 1 to 256 clusters; got {histogram.shape} and {clusters} clusters"
        )
    values = np.flatnonzero(histogram)
    n = len(values)
    clusters = min(clusters, n)
    # Sum of squares of every cluster (an interval of values), from cumulative sums.
    powers = POWERS[:, values - values[0]] * histogram[values]
    before = np.zeros((3, n + 1))
    powers.cumsum(axis=1, out=before[:, 1:])
    count, total, cost = (sums[1:, None] - sums[:-1] for sums in before)  # each [last value, first value]
    with np.errstate(divide="ignore", invalid="ignore"):
        total *= total
        cost -= np.divide(total, count, out=total)
    np.copyto(cost, np.inf, where=EMPTY_INTERVAL[:n, :n])

    best = [cost[:, 0]]  # least cost of the values up to each: in one cluster, in two, ...
    for _ in range(2, clusters):
        best.append((cost[:, 1:] + best[-1][:-1]).min(axis=1))
    borders = [n]
    for before_last in best[clusters - 2 :: -1] if clusters > 1 else []:
        last = borders[-1] - 1  # the last cluster ends here; where does it start?
        borders.append(int((cost[last, 1:] + before_last[:-1]).argmin()) + 1)
    first = np.array([0, *borders[:0:-1]])
    count, total, _ = np.add.reduceat(powers, first, axis=1)
    cluster_of_value = np.searchsorted(values[first[1:]], np.arange(256), side="right")
    return values[0] + total / count, cluster_of_value.astype(np.uint8)
