"""Folders of runs that nobody trained, for tests of what reads them."""

import json

import pandas as pd
from omegaconf import OmegaConf
from typer.testing import CliRunner

from hemai.cli import app
from hemai.settings.compose import compose
from hemai.settings.overrides import quote

RESULT = {
    "test/accuracy": 0.8,
    "test/balanced_accuracy": 0.7,
    "test/recall": 0.9,
    "test/specificity": 0.5,
    "test/auroc": 0.75,
    "test/images": 1600,
    "test/groups": 20,
    "groups_shared": 0,
    "parameters": 255230,
    "epochs": 25,
}


def run_writer(tmp_path):
    """Write the files of a run: what it was told, and its result if it is finished."""

    def write(name, *overrides, result=RESULT, **changes):
        folder = tmp_path / "runs" / name
        (folder / ".hydra").mkdir(parents=True)
        overrides = [quote(override) for override in (*overrides, f"run_dir={folder}")]
        OmegaConf.save(compose(overrides), folder / ".hydra" / "config.yaml", resolve=True)
        OmegaConf.save(OmegaConf.create(overrides), folder / ".hydra" / "overrides.yaml")
        if result:
            named = {f"test/{key}" if f"test/{key}" in RESULT else key: value for key, value in changes.items()}
            (folder / "result.json").write_text(json.dumps(result | named))
        return folder

    return write


def compare(*arguments, columns=200):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], env={"COLUMNS": str(columns)})


def compared(*arguments, out):
    done = compare(*arguments, "--out", out)
    assert done.exit_code == 0, done.output
    return pd.read_csv(out / "comparison.csv", keep_default_na=False).set_index("run"), done.stdout


def words(text):
    return " ".join(text.split())
