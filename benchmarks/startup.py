"""Start-up: the help of every command, and the first training step against the bare imports of its libraries.

    python benchmarks/startup.py C-NMC_FOLDER [--rounds 5]

Each time is that of a whole process, from its start to its end. Each round runs all commands in turn; the first is not
counted, since it fills the page cache and prepares the images. A training ends itself at its first step: its time
is divided by that of `python -c "import torch, pytorch_lightning, timm, albumentations"` in the same round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from hemai.cli import app

ROOT = Path(__file__).parents[1]
IMPORTS = "import torch, pytorch_lightning, timm, albumentations"
CALLBACK = f"+trainer.callbacks=[{{_target_: {Path(__file__).parent.name}.{Path(__file__).stem}.EndAtFirstStep}}]"


class EndAtFirstStep(pl.Callback):
    """End the process at the first step of the optimizer, without tidying up."""

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        """End the process."""
        os._exit(0)


def seconds(command: Sequence[str]) -> float:
    """Time of a command from start to end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def report(name: str, times: Sequence[float], unit: str = " s") -> None:
    """Print the median and the range."""
    print(f"{name:32} {statistics.median(times):5.2f}{unit} ({min(times):.2f} to {max(times):.2f})", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    verbs = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    helps = {"python train.py --help": ["train.py", "--help"], "hemai --help": ["-m", "hemai", "--help"]}
    helps |= {f"hemai {verb} --help": ["-m", "hemai", verb, "--help"] for verb in verbs}
    train = ["train.py", "data=cnmc", f"data.root={arguments.root.resolve()}", CALLBACK]
    rivals = {"bare imports": ["-c", IMPORTS], "first training step": train}
    times: dict[str, list[float]] = {name: [] for name in (*helps, *rivals)}
    for _ in range(arguments.rounds + 1):
        for name, command in (helps | rivals).items():
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(seconds([*command, *[f"run_dir={folder}"] * (command is train)]))
    counted = {name: each[1:] for name, each in times.items()}
    for name, each in counted.items():
        report(name, each)
    pairs = zip(counted["first training step"], counted["bare imports"], strict=True)
    report("ratio of the last two", [ours / theirs for ours, theirs in pairs], unit="")


if __name__ == "__main__":
    main()
