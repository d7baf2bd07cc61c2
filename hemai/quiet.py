"""What Lightning and torch say at every start, silenced for the command line."""

from __future__ import annotations

import logging
import warnings

MESSAGES = (
    ".*does not have many workers.*",  # on a CPU they would take the network's cores
    ".*is not supported by the model summary.*",
    ".*treespec, LeafSpec.*",  # torch 2.15 about Lightning 2.6
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*AMP with fp16 is not supported on CPU.*",  # an error of ours
    ".*all_gather.* is deprecated.*",  # torch 2.15 about Lightning 2.6
    ".*sync_dist=True.*",  # all devices computed the metric from the same gathered logits
    ".*Total length of `list` across ranks is zero.*",  # no validation images: the run has said so
    ".*is smaller than the logging interval.*",  # metrics are logged once an epoch
    ".*couldn't infer the indices fetched.*",  # predictions carry their index
)


def quieten() -> None:
    """Filter warnings and notes that hemai's own tables replace; for scripts, never on import."""
    import pytorch_lightning  # noqa: F401  it sets its level on import

    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message=message)
