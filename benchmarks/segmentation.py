"""Segmentation against OpenCV and scikit-learn, in one process.

    python benchmarks/segmentation.py IRANIAN_FOLDER [FOLDER_OF_LARGE_IMAGES] [--repeats 7]

1. Clustering one a* channel, histogram included, against cv2.kmeans (K = 2, 10 attempts, as in the HEMAI report) and
   scikit-learn's KMeans (K = 7, 10 restarts, as Hosseini et al.).
2. The whole transform against OpenCV's LAB conversion and a 5 x 5 opening of the same image.
3. The transform on all images of each folder against decoding them.

Each ratio is the median over pairs that run in turn, with one thread. 1 and 2 take the first image of each folder;
without a folder of large images, the first image enlarged to 1024 x 768.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from hemai.data.images import images_below, read_image
from hemai.transforms import SegmentNucleus
from hemai.transforms.kmeans import cluster_histogram


def seconds(work: Callable[[], object], calls: int) -> float:
    """Mean time of a call, in seconds."""
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def compare(name: str, ours: Callable[[], object], rival: Callable[[], object], repeats: int, calls: int = 1) -> None:
    """Print both times, each over `calls` calls in turn, and their ratio."""
    pairs = [(seconds(ours, 20), seconds(rival, calls)) for _ in range(repeats)]
    ratios = [own / other for own, other in pairs]
    own, other = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
    middle = statistics.median(ratios)
    factor = f"1/{1 / middle:,.0f}" if middle < 0.1 else f"{middle:.2f}"
    print(
        f"{name}: hemai {own:.3f} ms, rival {other:.3f} ms, ratio {factor} ({min(ratios):.3g} to {max(ratios):.3g})",
        flush=True,
    )


def cluster(channel: np.ndarray, clusters: int) -> None:
    """Cluster a channel with hemai, histogram included."""
    cluster_histogram(cv2.calcHist([channel], [0], None, [256], [0, 256]), clusters)


def compare_with_decoding(files: list[Path], transform: SegmentNucleus, repeats: int) -> None:
    """Print the times of decoding and of the transform over all files, in turn, and their ratio."""
    for file in files:
        file.read_bytes()
    times = np.zeros((repeats, 2))
    for run in range(repeats):
        for file in files:
            start = time.perf_counter()
            image = read_image(file)
            middle = time.perf_counter()
            transform(image=image)
            times[run] += middle - start, time.perf_counter() - middle
    decoding, segmenting = np.median(times, axis=0)
    ratios = times[:, 1] / times[:, 0]
    print(
        f"all {len(files):,} images: decoding {decoding:.2f} s, transform {segmenting:.2f} s; "
        f"transform / decoding {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("large", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    repeats = arguments.repeats
    cv2.setNumThreads(1)
    folders = [images_below(folder)[0] for folder in (arguments.root, arguments.large) if folder]
    images = [read_image(files[0]) for files in folders]
    if len(images) == 1:
        images.append(cv2.resize(images[0], (1024, 768), interpolation=cv2.INTER_CUBIC))
    transform = SegmentNucleus()
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    opening = np.ones((5, 5), np.uint8)
    with threadpool_limits(1):
        for image in images:
            size = f"{image.shape[1]} x {image.shape[0]}"
            channel = cv2.extractChannel(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), 1)
            numbers = channel.reshape(-1, 1).astype(np.float32)
            compare(
                f"K-means, K = 2, {size}, against cv2.kmeans",
                lambda channel=channel: cluster(channel, 2),
                lambda numbers=numbers: cv2.kmeans(numbers, 2, None, criteria, 10, cv2.KMEANS_RANDOM_CENTERS),
                repeats,
            )
            compare(
                f"K-means, K = 7, {size}, against scikit-learn",
                lambda channel=channel: cluster(channel, 7),
                lambda numbers=numbers: KMeans(7, n_init=10, random_state=0).fit(numbers),
                repeats,
            )

            def lab_and_opening(image: np.ndarray = image) -> None:
                cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
                cv2.morphologyEx(image, cv2.MORPH_OPEN, opening)

            compare(
                f"the transform, {size}, against LAB and an opening",
                lambda image=image: transform(image=image),
                lab_and_opening,
                repeats,
                calls=20,
            )
        for files in folders:
            compare_with_decoding(files, transform, min(3, repeats))


if __name__ == "__main__":
    main()
