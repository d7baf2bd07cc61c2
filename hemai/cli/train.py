"""`hemai train`."""

from __future__ import annotations

from hemai.cli.options import Overrides


def train(overrides: Overrides = None) -> None:
    """Train and test a classifier, as python train.py does; also works without a clone of the repository."""
    import runpy
    import sys
    from pathlib import Path

    # In the wheel the script lies inside the package, in a clone beside it.
    package = Path(__file__).parents[1]
    script = next(path for path in (package / "train.py", package.parent / "train.py") if path.is_file())
    # The arguments become those of the script, because Lightning restarts the command for further devices.
    sys.argv = [str(script), *sys.argv[2:]]
    runpy.run_path(str(script), run_name="__main__")
