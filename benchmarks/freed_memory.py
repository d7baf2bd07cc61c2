"""Training steps a second of a bare loop that keeps the memory it frees, against one that gives it back to Linux.

    python benchmarks/freed_memory.py [--pairs 5] [--networks custom_cnn mobilenetv2_100]

Each measurement is a process of its own, since an allocator cannot be set back; the two kinds take turns. A batch is 32
constant images at the network's own resolution, in float32 and channels-last memory. Printed are medians, the medians
of the ratios of pairs, the page faults of a step, and the largest memory of both.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import timm
import torch
from torch.nn.functional import cross_entropy

import hemai.models  # noqa: F401  registers custom_cnn
from hemai.utils.memory import keep_freed_memory

BATCH = 32
STEPS = {"custom_cnn": 60}  # a few seconds of each network
FEW = 3


def measure(name: str) -> dict[str, float]:
    """Images a second, page faults of a step and largest memory in MB, of this process."""
    network = timm.create_model(name, num_classes=2).train().to(memory_format=torch.channels_last)
    size = network.pretrained_cfg["input_size"][-1]
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4, fused=True)
    images = torch.randint(0, 256, (BATCH, size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    targets = torch.randint(0, 2, (BATCH,))
    steps = STEPS.get(name, FEW)
    for step in range(2 + steps):
        if step == 2:  # the first two are not counted
            start, faults = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        optimizer.zero_grad()
        cross_entropy(network(images.float().sub_(127.5).div_(127.5)), targets).backward()
        optimizer.step()
    seconds, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    rate = steps * BATCH / seconds
    return {"rate": rate, "faults": (usage.ru_minflt - faults) / steps, "memory": usage.ru_maxrss / 1e3}


def main() -> None:
    """Measure every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--networks", nargs="+", default=["custom_cnn", "mobilenetv2_100"])
    parser.add_argument("--measure", choices=["kept", "given back"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        if arguments.measure == "kept" and not keep_freed_memory():
            sys.exit("no glibc here, or a variable sets the allocator")
        print(json.dumps(measure(arguments.networks[0])))
        return
    for name in arguments.networks:
        found: dict[str, list[dict[str, float]]] = {"given back": [], "kept": []}
        for _ in range(arguments.pairs):
            for kind, results in found.items():
                command = [sys.executable, __file__, "--networks", name, "--measure", kind]
                results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        for kind, results in found.items():
            rate, faults, memory = (statistics.median(each[key] for each in results) for key in results[0])
            print(f"{name}, {kind}: {rate:.0f} images/s, {faults:,.0f} page faults a step, {memory:,.0f} MB")
        ratios = [kept["rate"] / usual["rate"] for usual, kept in zip(*found.values(), strict=True)]
        print(f"{name}: ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
