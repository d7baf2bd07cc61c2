"""The check of a cache against its checksums, beside the first epoch of the custom CNN on the same images.

    python benchmarks/cache_check.py C-NMC_FOLDER [--repeats 5] [--accelerator cpu]

A cache is read whole when it is first opened after its files changed (copied, restored, damaged). Measured with its
pages in memory, and after the system was asked to drop them, which costs what reading the disk costs; the epoch
would read them then. The epoch includes the warm-up of the first batch, and no validation.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import pytorch_lightning as pl

from hemai.data.cache import FILES
from hemai.runs.build import build_data, build_model
from hemai.settings.compose import compose
from hemai.utils.checksums import CHECKSUMS, check_files
from hemai.utils.terminal import quieten


def drop_pages(folder: Path) -> None:
    """Ask the system to read the files of a cache from the disk the next time."""
    for name in FILES:
        with open(folder / name, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds_of_check(folder: Path, is_cold: bool) -> float:
    """Duration of a whole check, as after a change of the files."""
    os.utime(folder / "images.npy")
    if is_cold:
        drop_pages(folder)
    start = time.perf_counter()
    check_files(folder, FILES)
    return time.perf_counter() - start


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--accelerator", default="cpu")
    arguments = parser.parse_args()
    quieten()
    config = compose(["data=cnmc", f"data.root={arguments.root}"])
    data = build_data(config)
    data.setup()
    folder = data.cache.folder
    assert (folder / CHECKSUMS).is_file()
    checks = {
        is_cold: statistics.median(seconds_of_check(folder, is_cold) for _ in range(arguments.repeats))
        for is_cold in (False, True)
    }
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator=arguments.accelerator,
        devices=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = build_model(config, data)
    start = time.perf_counter()
    trainer.fit(model, data)
    epoch = time.perf_counter() - start
    size = sum((folder / name).stat().st_size for name in FILES) / 1e6
    print(f"{size:,.0f} MB of {len(data.cache.images):,} images; first epoch ({arguments.accelerator}) {epoch:.2f} s")
    for is_cold, seconds in checks.items():
        print(f"{'from disk' if is_cold else 'in memory'}: {seconds:.3f} s, {seconds / epoch:.1%} of the epoch")


if __name__ == "__main__":
    main()
