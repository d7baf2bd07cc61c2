"""`hemai audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hemai.cli.options import ConfigDir, Overrides, Trust, with_config_folders
from hemai.utils.errors import UserError


def audit(
    overrides: Overrides = None,
    run: Annotated[Path | None, typer.Option(help="Run on the same split, shown for comparison")] = None,
    out: Annotated[Path | None, typer.Option(help="New csv file for the table")] = None,
    config_dir: ConfigDir = None,
    trust: Trust = False,
) -> None:
    """Report the AUROC of shortcut features (colour, cell area, corners, file size), and duplicates.

    A logistic regression on each feature is fitted on training and validation images and tested on test images. With
    --run also how well the patient of a test image is told from the features of that network.
    """
    from hemai.evaluation.group_identity import identify_groups
    from hemai.evaluation.shortcuts import feature_predictions, shortcut_table
    from hemai.reporting.console import print_data
    from hemai.reporting.document import print_report
    from hemai.reporting.sections_controls import control_sections, identity_section
    from hemai.reporting.sections_images import shortcuts_section
    from hemai.runs.build import build_data
    from hemai.runs.features import features_of_test_images
    from hemai.runs.saved_run import SavedRun
    from hemai.settings.arguments import parse_arguments
    from hemai.settings.compose import compose
    from hemai.utils.files import check_new_file, csv_text, output_errors, write_text

    if out is not None:
        check_new_file(out)
    data = build_data(compose(parse_arguments(with_config_folders(overrides, config_dir))))
    data.setup()
    if "test" not in data.rows:
        raise UserError("no image is in the test set; choose a split that has one, such as data.split=group")
    kind, of_model, warnings, sections = data.dataset.group_kind, None, [], []
    if run is not None:
        saved = SavedRun(run, trust)
        of_model = saved.predictions()
        if set(of_model.table["path"]) != set(data.table["path"].iloc[data.rows["test"]]):
            raise UserError(f"--run: {run} was tested on other images; give the data and seed settings of that run")
        tested = data.table.iloc[data.rows["test"]]
        features = features_of_test_images(saved.model, data)
        warnings = control_sections([saved])
        sections = [identity_section(identify_groups(features, tested), kind)]
    print_data(data)
    table = shortcut_table([feature_predictions(data)], of_model)
    if out is not None:
        with output_errors(out):
            write_text(out, csv_text(table))
    print_report(data.dataset.name, [*warnings, shortcuts_section(table, kind, data), *sections], brief=False)
    if out is not None:
        print(f"written to {out}")
