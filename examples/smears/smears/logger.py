"""A logger of one's own."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only


class JsonLinesLogger(Logger):
    """Write each set of metrics as a line of `metrics.jsonl`.

    Args:
        save_dir: Folder of the file; hemai passes the run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.file = Path(save_dir) / "metrics.jsonl"

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "json_lines"

    @property
    def version(self) -> str:
        """Empty: there is one file a run."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a line."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **options: Any) -> None:
        """Leave the settings to the run folder."""
