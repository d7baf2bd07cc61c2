"""Time and memory of every stage as a data set grows: indexing, checking, preparing, splitting, one epoch.

    python benchmarks/growth.py IRANIAN_FOLDER [--images 3600 36000] [--image-size 128]
    python benchmarks/growth.py --rows 10000000

The images are links to the files of the Iranian set, as many for each as needed, in one folder a class; a link has the
group of its file, since identical files tie groups together. Each number of images has a process of its own. Printed
are seconds, those of the CPU (which hardly depend on what else the machine does), in all and in microseconds an image,
and the private memory of the process at the end of the stage (RssAnon of Linux; pages of the memory-mapped cache do
not count). "reading" is an epoch without a network, "reading, cold" one after the cache was dropped from memory: a
cache larger than memory is read at that speed.

With `--rows` there are no files: a table of so many cells of one patient in a hundred is drawn, checked for identical
files and split.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hemai.data import CellDataModule, Iranian
from hemai.data.leakage import count_leakage, merge_duplicate_groups
from hemai.data.splits import split_hash, split_table
from hemai.runs.build import build_data, build_model
from hemai.settings.compose import compose
from hemai.training.trainer import build_trainer
from hemai.utils.terminal import quieten


def private_memory() -> float:
    """Private memory of this process in MB."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("RssAnon:")[1].split()[0]) / 1e3


@dataclass
class Clock:
    """Prints time and memory of stages, when each ends."""

    count: int

    def run(self, name: str, stage: Callable[..., Any], *arguments: Any) -> Any:
        """Run a stage."""
        start, cpu = time.perf_counter(), time.process_time()
        result = stage(*arguments)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        each = f"{cpu / self.count * 1e6:9.1f} us each"
        print(f"  {name:15} {seconds:8.2f} s, CPU {cpu:8.2f} s {each} {private_memory():7,.0f} MB", flush=True)
        return result


def link_images(root: Path, count: int, folder: Path) -> None:
    """Link the images of the Iranian set until there are `count`, as CLASS/GROUP_NUMBER.jpg."""
    cells = Iranian(root)
    rows = cells.table[["path", "label", "group"]].itertuples(index=False, name=None)
    listed = [((root / path).absolute(), label, group) for path, label, group in rows]
    order = np.random.default_rng(0).permutation(len(listed))  # all classes, however few images
    for label in cells.classes:
        (folder / label).mkdir()
    for number in range(count):
        file, label, group = listed[order[number % len(listed)]]
        os.symlink(file, folder / label / f"{group}_{number}{file.suffix}")


def read_epoch(data: CellDataModule) -> None:
    """Read the training images once, in the random order of an epoch."""
    for batch in data.train_dataloader():
        batch["image"].sum()  # every page


def drop_from_memory(file: Path) -> None:
    """Drop the pages of a file from the memory of the system."""
    with open(file, "rb") as content:
        os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_images(root: Path, count: int, image_size: int) -> None:
    """Measure a data set of `count` images."""
    quieten()
    clock = Clock(count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEMAI_CACHE"] = str(folder / "cache")
        (folder / "cells").mkdir()
        link_images(root, count, folder / "cells")
        settings = ["data=folder", f"data.root={folder / 'cells'}", r"data.pattern=([^_/]+)_\d+\.", "trainer=cpu"]
        config = compose([*settings, f"model.image_size={image_size}", "trainer.max_epochs=1", "monitor=null"])
        data = clock.run("indexing", build_data, config)
        clock.run("checking", data.dataset.check)
        clock.run("preparing", data.prepare_data)
        clock.run("splitting", data.setup)
        clock.run("reading", read_epoch, data)
        model = clock.run("building", build_model, config, data)
        clock.run("training", build_trainer(config.trainer, [], [], folder).fit, model, data.train_dataloader())
        data.cache.images._mmap.close()  # type: ignore[attr-defined]  # mapped pages are not dropped
        data._ready = False
        drop_from_memory(data.cache.folder / "images.npy")
        data.setup()
        clock.run("reading, cold", read_epoch, data)


def measure_rows(count: int) -> None:
    """Measure a drawn table of `count` cells, a hundred of each patient."""
    clock = Clock(count)
    table = clock.run("table", draw_table, count)
    content = table["path"].to_numpy()  # no file twice
    table["group"] = clock.run("identical files", merge_duplicate_groups, table, content)
    split = clock.run("splitting", split_table, table)
    clock.run("leakage", count_leakage, table, split, content)
    clock.run("hash", split_hash, table, split)


def draw_table(count: int) -> pd.DataFrame:
    """Table of `count` cells."""
    labels, patients = ("all", "hem"), np.arange(count) // 100
    groups = [f"P{patient:06}" for patient in range(-(-count // 100))]
    rows = ((f"{labels[p % 2]}/{groups[p]}_{i}.bmp", labels[p % 2], groups[p], "") for i, p in enumerate(patients))
    return pd.DataFrame(list(rows), columns=["path", "label", "group", "fold"])


def main() -> None:
    """Measure every number of images, or of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--images", type=int, nargs="+", default=[3600, 36000])
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--rows", type=int, nargs="+")
    arguments = parser.parse_args()
    if arguments.root is None and arguments.rows is None:
        parser.error("expected the folder of the Iranian set, or --rows")
    tasks = [(measure_rows, (rows,)) for rows in arguments.rows or ()]
    tasks = tasks or [(measure_images, (arguments.root, n, arguments.image_size)) for n in arguments.images]
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for measure, given in tasks:
            count = given[-1] if arguments.rows else given[1]
            print(f"{count:,} {'rows' if arguments.rows else 'images'}", flush=True)
            pool.apply(measure, given)


if __name__ == "__main__":
    main()
