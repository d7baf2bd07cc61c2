"""Private memory of a training process with N and with 10 N images.

    python benchmarks/memory.py C-NMC_FOLDER

Trains for 100 steps on the images of the folder, then in another process on ten links to each of them, and
prints RssAnon at the end (memory that belongs to the process alone; pages of the mapped cache, which the
system can drop at any time, do not count). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = """
import json, sys
import train
from hemai.settings.compose import compose
overrides = sys.argv[1:]
result = train.train(compose(overrides), overrides)
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({"images": result["train/images"], "kB": int(status["RssAnon"].split()[0])}))
"""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    files = sorted(parser.parse_args().root.absolute().rglob("UID_*.bmp"))
    checkout = str(Path(__file__).parent.parent)
    found = []
    for copies in (1, 10):
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                for copy in range(copies):
                    link = Path(folder, "images", file.parent.name, f"{file.stem}_{copy}{file.suffix}")
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(file)
            overrides = [
                "data=folder",
                f"data.root={folder}/images",
                r"data.pattern=UID_(H?\d+)",
                "data.positive=[all]",
                "trainer.max_epochs=1",
                "trainer.limit_train_batches=100",
                f"run_dir={folder}/run",
            ]
            environment = {**os.environ, "HEMAI_CACHE": f"{folder}/cache", "PYTHONPATH": checkout}
            command = [sys.executable, "-c", CHILD, *overrides]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{len(files) * copies:,} images: RssAnon {found[-1]['kB'] / 1024:.0f} MiB", flush=True)
    print(f"ratio {found[1]['kB'] / found[0]['kB']:.3f}")


if __name__ == "__main__":
    main()
