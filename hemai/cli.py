"""The `hemai` command: one verb, one file. Heavy imports stay inside the verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="hemai: classifiers of stained cells. Research software, not a medical device. Training: python train.py",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="As for train.py: group=name and key=value, such as data=cnmc data.root=DIR"),
]

ConfigDir = Annotated[
    list[str] | None,
    typer.Option("--config-dir", "-cd", metavar="DIR", help="Your own configs: DIR/model/NAME.yaml is model=NAME"),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="DANGEROUS: run code that the run folder or checkpoint names; only if you know who made it",
    ),
]


def _with(overrides: list[str] | None, config_dir: list[str] | None) -> list[str]:
    from hemai.overrides import take_config_folders

    return take_config_folders([*(f"--config-dir={folder}" for folder in config_dir or []), *(overrides or [])])


def _warn_of_seed(seed: int | None) -> None:
    if seed is not None:
        typer.echo("--seed has no effect any more: no interval is drawn at random; leave it out", err=True)


Seed = Annotated[int | None, typer.Option(hidden=True, callback=_warn_of_seed)]  # of scripts from before


@app.callback()
def _hemai() -> None:
    """Let Typer print the help of all verbs."""


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def train(overrides: Overrides = None) -> None:
    """Train and test a classifier: python train.py for an installed hemai, without a checkout."""
    import runpy
    import sys

    # In the wheel the script lies inside the package, in a checkout beside it.
    here = Path(__file__).parent
    script = next(path for path in (here / "train.py", here.parent / "train.py") if path.is_file())
    # The arguments become those of the script: several devices start the same command again.
    sys.argv = [str(script), *sys.argv[2:]]
    runpy.run_path(str(script), run_name="__main__")


@app.command()
def prepare(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Check a data set against its publication, then build its split and its cache."""
    from hemai.errors import shown_to_user
    from hemai.prepare import prepare_data

    with shown_to_user():
        prepare_data(_with(overrides, config_dir))


@app.command()
def segment(
    images: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders and patterns; also transform=hosseini, transform.prepare.segment.KEY=VALUE"
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for masks, cut-outs, overlays and segments.csv")],
    size: Annotated[int | None, typer.Option(help="Resize to SIZE x SIZE pixels first")] = None,
    stages: Annotated[bool, typer.Option(help="Draw the six stages of each image")] = False,
) -> None:
    """Cut the nuclei out of images: LAB, K-means, clean-up, mask."""
    from hemai.errors import shown_to_user
    from hemai.segment import segment_images

    with shown_to_user():
        segment_images(images, out, size, stages)


@app.command()
def networks(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Of configs/model/ or of timm; none: all of configs/model/"),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Outputs; networks are published with 1000")] = 1000,
    size: Annotated[int | None, typer.Option(min=1, help="Input of SIZE x SIZE pixels; else the network's own")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch, for the speed")] = 32,
    csv: Annotated[Path | None, typer.Option(help="New file for the table")] = None,
) -> None:
    """Size of networks at a glance: parameters, layers, multiply-adds, images a second."""
    from hemai.errors import shown_to_user
    from hemai.networks import measure_networks

    with shown_to_user():
        measure_networks(names or [], classes, size, batch, csv)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders, or folders above them")],
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.csv and comparison.md")] = None,
) -> None:
    """Compare runs: settings, test figures, and what was published."""
    from hemai.compare import compare_runs
    from hemai.errors import shown_to_user

    with shown_to_user():
        compare_runs(runs, out)


@app.command()
def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... [data=NAME data.root=DIR]",
            help="Run folders, folders above them, checkpoints; without data=NAME: their own test images",
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the report, figures, groups and predictions")],
    classes: Annotated[
        str | None,
        typer.Option(help="Class of the data: class of the run, such as 'Benign: hem, Early: all'; or a YAML file"),
    ] = None,
    seed: Seed = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Figures of runs with intervals for new patients, by class and by patient, and a report of them."""
    from hemai.errors import shown_to_user
    from hemai.evaluate import evaluate as evaluate_runs
    from hemai.evaluate import runs_and_overrides

    with shown_to_user():
        runs, overrides = runs_and_overrides(arguments)
        evaluate_runs(runs, out, _with(overrides, config_dir), classes, trust)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, checkpoint, or a folder above an ensemble")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGES", help="Files, folders and patterns")],
    out: Annotated[Path, typer.Option(help="New csv file: a row an image, with its class and probabilities")],
    trust: Trust = False,
) -> None:
    """Calls of a trained network, or of several together, for images without labels."""
    from hemai.errors import shown_to_user
    from hemai.predict import predict_images

    with shown_to_user():
        predict_images(run, images, out, trust)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run")],
    trust: Trust = False,
) -> None:
    """Write report.html, report.md and model_card.md into the folder of a run."""
    from hemai.errors import shown_to_user
    from hemai.report import report_run

    with shown_to_user():
        report_run(run, trust)


@app.command()
def audit(
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option(help="A run on the same split, to stand beside")] = None,
    out: Annotated[Path | None, typer.Option(help="New csv file for the table")] = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Shortcuts: how well colour, cell area, corners, file size alone tell the classes apart; duplicates."""
    from hemai.audit import audit as audit_data
    from hemai.errors import shown_to_user

    with shown_to_user():
        audit_data(_with(overrides, config_dir), run, out, trust)


@app.command()
def crossvalidate(
    out: Annotated[Path, typer.Option(help="Folder for the folds and the report; finished folds there are kept")],
    overrides: Overrides = None,
    seed: Seed = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Train all folds of patients, and report what each network said of those it did not see."""
    from hemai.crossvalidate import cross_validate
    from hemai.errors import shown_to_user

    with shown_to_user():
        cross_validate(_with(overrides, config_dir), out, trust)


@app.command()
def leakage(
    out: Annotated[Path, typer.Option(help="Folder for the runs and the table; finished runs there are kept")],
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings with each split")] = 3,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Train with a split by image and with one by patient, and show how much the first flatters."""
    from hemai.errors import shown_to_user
    from hemai.leakage import measure_leakage

    with shown_to_user():
        measure_leakage(_with(overrides, config_dir), out, seeds, trust)
