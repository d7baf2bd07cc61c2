"""Training images a second on two processes of one thread each, against one process of two threads.

    python benchmarks/devices_speed.py C-NMC_FOLDER [--pairs 5] [--batch-size 32] [SETTING ...]

Every training is a command of its own (custom CNN, 128 x 128 px, global batches of 32), started in turn; its speed is
that of `result.json`, in which start and first epoch do not count. Printed are the speeds of each pair, their medians,
the median of their ratios, and the steps an epoch of both, which must agree. Further settings are those of train.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from hemai.settings.run_folder import RunFolder

KINDS = {"one": (1, 2), "two": (2, 1)}  # processes, threads of each


def train(settings: list[str], processes: int, threads: int) -> tuple[float, int]:
    """Images a second and steps of a training."""
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name, "run"))
        command = [sys.executable, "-m", "hemai", "train", *settings, f"trainer.devices={processes}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": environment}
        subprocess.run([*command, f"run_dir={folder.folder}"], **quiet)  # type: ignore[call-overload]
        steps = torch.load(folder.last, weights_only=True)["global_step"]
        return json.loads(folder.result.read_text("utf-8"))["images_per_second"], steps


def main() -> None:
    """Measure pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    settings = ["data=cnmc", f"data.root={arguments.root}", f"data.batch_size={arguments.batch_size}"]
    settings += ["data.split=image", "data.val_share=0", "data.test_share=0.01", "monitor=null", "model.plateau=null"]
    settings += ["trainer.accelerator=cpu", f"trainer.max_epochs={arguments.epochs}", "report=false", "plots=false"]
    settings += arguments.settings
    speeds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for pair in range(arguments.pairs):
        steps = {}
        for kind, given in KINDS.items():
            speed, steps[kind] = train(settings, *given)
            speeds[kind].append(speed)
        print(f"pair {pair + 1}: {speeds['one'][-1]:.0f}/s and {speeds['two'][-1]:.0f}/s; steps {steps}", flush=True)
    one, two = (statistics.median(speeds[kind]) for kind in KINDS)
    ratios = [after / before for before, after in zip(speeds["one"], speeds["two"], strict=True)]
    print(f"one process {one:.0f}/s, two {two:.0f}/s, ratio {statistics.median(ratios):.2f}", end=" ")
    print(f"({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
