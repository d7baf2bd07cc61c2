"""First preparation of a data set against a bare parallel read and resize of the same files.

    python benchmarks/preparation.py C-NMC_FOLDER [--pairs 5]

Both run in as many threads as there are cores, in turn, in one process; all files are read once before,
so that both find them in the page cache. hemai also finds duplicates and unreadable files and writes
the cache; the rival reads with cv2.imread, resizes with the same interpolation and keeps the result in
memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

from hemai.data.cache import load_cache
from hemai.runs.build import build_data
from hemai.settings.compose import compose


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    data = build_data(compose(["data=cnmc", f"data.root={arguments.root}"]))
    root, paths = data.dataset.root, data.dataset.table["path"].tolist()
    for path in paths:
        (root / path).read_bytes()

    def bare(path: str) -> object:
        image = cv2.cvtColor(cv2.imread(str(root / path)), cv2.COLOR_BGR2RGB)
        return cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)

    ratios, ours, theirs = [], [], []
    for _ in range(arguments.pairs):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HEMAI_CACHE"] = folder
            start = time.perf_counter()
            load_cache("benchmark", root, paths, data.transform.prepare_spec)
            ours.append(time.perf_counter() - start)
        cv2.setNumThreads(1)
        start = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(bare, paths))
        theirs.append(time.perf_counter() - start)
        ratios.append(ours[-1] / theirs[-1])
    print(
        f"{len(paths):,} files: hemai {statistics.median(ours):.2f} s, bare {statistics.median(theirs):.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
