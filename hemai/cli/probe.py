"""`hemai probe`."""

from __future__ import annotations

from hemai.cli.options import Overrides


def probe(overrides: Overrides = None) -> None:
    """Fit the last layer alone, by logistic regression on the features of a pretrained network; a run as of train.

    Takes the settings of train.py, such as data=cnmc data.root=DIR model=dinov2_s; the same as train with probe=true.
    """
    import sys

    from hemai.cli.train import train
    from hemai.utils.errors import UserError

    if given := [override for override in overrides or () if override.lstrip("+~").startswith("probe")]:
        raise UserError(f"{given[0]}: hemai probe sets this itself; remove it")
    sys.argv.append("probe=true")
    train(overrides)
