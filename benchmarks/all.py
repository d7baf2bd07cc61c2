"""Run the benchmarks of speed, and write what they print into one page with a description of this machine.

    python benchmarks/all.py C-NMC_FOLDER IRANIAN_FOLDER --out FILE.md [--quick] [--only training_speed ...]

Each benchmark is a process of its own, one after the other. Nothing else should run meanwhile: with another program
beside them the figures are worth nothing, and the page says how busy the machine was before each. `--quick` runs each
once, with few images: it shows that they work. About an hour on two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch

from hemai.runs.hardware import describe_hardware

FOLDER = Path(__file__).parent
CNMC, IRANIAN = "{cnmc}", "{iranian}"
# Name -> arguments, and arguments that make it quick.
BENCHMARKS: dict[str, tuple[list[str], list[str]]] = {
    "startup": ([CNMC], ["--rounds", "1"]),
    "preparation": ([CNMC], ["--pairs", "1"]),
    "input_speed": ([CNMC], ["--pairs", "1", "--images", "64"]),
    "training_speed": ([CNMC], ["--pairs", "1"]),
    "freed_memory": ([], ["--pairs", "1", "--networks", "custom_cnn"]),
    "networks_speed": ([], ["--pairs", "1", "--batches", "2", "--networks", "custom_cnn"]),
    "device_limit": (
        [CNMC, "--networks", "custom_cnn", "mobilenetv2", "--batches", "10", "--pairs", "3", "--compile"],
        ["--pairs", "1", "--batches", "2", "--networks", "custom_cnn"],
    ),
    "devices_speed": ([CNMC], ["--pairs", "1", "--epochs", "1"]),
    "export_speed": ([], ["--pairs", "2", "--networks", "custom_cnn"]),
    "cache_check": ([CNMC], ["--repeats", "1"]),
    "segmentation": ([IRANIAN], ["--repeats", "1"]),
    "evaluation_speed": ([], ["--images", "500", "--groups", "10"]),
    "growth": ([IRANIAN], ["--images", "100", "200"]),
}


def machine() -> str:
    """One sentence on this machine and its software."""
    found = describe_hardware(torch.cuda.is_available())
    gpus = ", ".join(found["gpus"]) or "no GPU"
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gb']} GB of memory, {gpus}; {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}; {date.today()}"
    )


def run(name: str, arguments: list[str]) -> str:
    """Section of the page: title, command and output of a benchmark."""
    busy, start = os.getloadavg()[0], time.perf_counter()
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    output = done.stdout.strip() if done.returncode == 0 else f"failed:\n{done.stderr.strip()[-2000:]}"
    shown = " ".join(["python", f"benchmarks/{name}.py", *arguments])
    title = (FOLDER / f"{name}.py").read_text("utf-8").splitlines()[0].strip('"')
    took = f"{time.perf_counter() - start:.0f} s; {busy:.1f} programs were busy before"
    return f"## {title}\n\n`{shown}` ({took})\n\n```\n{output}\n```\n"


def main() -> None:
    """Run them and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cnmc", type=Path)
    parser.add_argument("iranian", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME")
    given = parser.parse_args()
    page = f"# Speed\n\n{machine()}\n"
    for name in given.only:
        arguments, quick = BENCHMARKS[name]
        places = {"cnmc": given.cnmc, "iranian": given.iranian}
        section = run(name, [each.format(**places) for each in arguments] + (quick if given.quick else []))
        print(section, flush=True)
        page += f"\n{section}"
        given.out.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
