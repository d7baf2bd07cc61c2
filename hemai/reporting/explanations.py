"""Explain images with a run: overlays, a sheet, a page, and tables of regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

import albumentations as A
import numpy as np
import pandas as pd

from hemai.attribution.explanation import Explanation, explain_images
from hemai.attribution.methods import METHODS, check_method
from hemai.attribution.overlays import overlay
from hemai.attribution.regions import prepare_with_regions, summarise_regions
from hemai.data.images import find_images, read_image
from hemai.reporting.document import Section, print_report, write_page
from hemai.reporting.sections_attribution import (
    attribution_sheet,
    describe_class,
    describe_regions,
    describe_strip,
    regions_section,
)
from hemai.reporting.segmentation import output_names
from hemai.runs.ensemble import describe_networks, find_saved_runs
from hemai.utils.errors import UserError, did_you_mean
from hemai.utils.files import check_new_folder, check_writable, csv_text, output_errors, write_text
from hemai.utils.pictures import encode
from hemai.utils.terminal import track

BATCH = 32


def explain(
    run: Path,
    images: Sequence[str],
    out: Path,
    method: str | None = None,
    label: str | None = None,
    most: int = 64,
    overwrite: bool = False,
    trust: bool = False,
) -> pd.DataFrame:
    """Explain images, and write overlays, a sheet, a page and tables.

    Args:
        run: Run folder or checkpoint.
        images: Files, folders and patterns.
        out: Folder for `overlays/`, `sheet.png`, `explain.html`, `attribution.csv` (per image) and `regions.csv` (per
            class).
        method: One of `hemai.attribution.methods.METHODS`; None: all.
        label: Class to explain; None: of each image the predicted one.
        most: Number of images on sheet and page, evenly spaced over all.
        overwrite: Replace files of the same names in `out`, which otherwise must be empty.
        trust: Run code that the files name, even if it is not on the allowlist of `hemai.settings.trust`.

    Returns:
        Content of `attribution.csv`: one row per image and method, see `Explanation.rows`.

    Raises:
        UserError: Several runs, unknown method or class, no captum, no image, `out` is not empty or cannot be written;
            or images that cannot be read, after all others are done.
    """
    methods = [method] if method else list(METHODS)
    for each_method in methods:
        check_method(each_method)
    if most < 1:
        raise UserError(f"--most {most}: expected 1 or more images")
    check_writable(out) if overwrite else check_new_folder(out)
    runs = find_saved_runs([run], trust)
    if len(runs) > 1:
        raise UserError(f"{run} holds {len(runs)} runs; each network has its own reasons: explain them one by one")
    model, prepare = runs[0].model, A.from_dict(runs[0].metadata["prepare"])
    target = None if label is None else _target(label, model.classes)
    files, bad = find_images(images), dict[Path, str]()
    names = list(files.values())
    outputs, position = output_names(names), {name: number for number, name in enumerate(names)}
    chosen = np.unique(np.linspace(0, len(names) - 1, most).astype(int)).tolist()
    rows: list[dict[str, Any]] = []
    shown: list[tuple[Path, Explanation]] = []
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        prepared = track(_prepared(files, prepare, bad), f"explaining {len(files):,} images", total=len(files))
        while batch := list(islice(prepared, BATCH)):
            _, pixels, regions = zip(*batch, strict=True)
            explained = explain_images(model, pixels, regions, methods, target)
            for (name, _, _), each in zip(batch, explained, strict=True):
                _write_overlays(out / "overlays", outputs[name], each)
                rows += [{"path": name.as_posix(), **row} for row in each.rows()]
                # In place of one that cannot be read the next is shown; the first that can always is.
                if len(shown) < len(chosen) and chosen[len(shown)] <= position[name]:
                    shown.append((name, each))
        table = pd.DataFrame(rows)
        if rows:
            _write(out, f"{runs[0].metadata['data']}: {describe_networks(runs)}", table, shown)
    if bad:
        listed = "\n".join(f"  {name}: {reason}" for name, reason in bad.items())
        raise UserError(f"{len(bad):,} of {len(files):,} images could not be read:\n{listed}\nremove or replace them")
    return table


def _target(label: str, classes: Sequence[str]) -> int:
    """Index of the class to explain."""
    if label not in classes:
        raise UserError(f"--class {label}: expected {' or '.join(classes)}{did_you_mean(label, classes)}")
    return list(classes).index(label)


def _prepared(
    files: dict[Path, Path], prepare: A.Compose, bad: dict[Path, str]
) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Name, prepared image and regions of each file; those that cannot be read are noted in `bad`."""
    first: tuple[int, ...] | None = None
    for file, name in files.items():
        try:
            original = read_image(file)
        except (ValueError, OSError) as error:
            bad[name] = " ".join(str(error).split())
            continue
        try:
            image, regions = prepare_with_regions(original, prepare)
        except Exception as error:  # albumentations raises errors of several types
            raise UserError(f"{file}: transform.prepare fails: {error}") from error
        first = first or image.shape
        if image.shape != first:
            raise UserError(
                f"{file}: {image.shape[1]} x {image.shape[0]} px after the prepare list, other images {first[1]} x "
                f"{first[0]}; explain images of one size together"
            )
        yield name, image, regions


def _write_overlays(folder: Path, name: PurePath, explanation: Explanation) -> None:
    for method, heat in explanation.maps.items():
        encode(f"{name.stem}_{method}", overlay(explanation.image, heat)).save(folder / name.parent)


def _write(out: Path, title: str, table: pd.DataFrame, shown: Sequence[tuple[Path, Explanation]]) -> None:
    """Write the tables, the sheet and the page, and print the table of regions."""
    summary = summarise_regions(table)
    write_text(out / "attribution.csv", csv_text(table))
    write_text(out / "regions.csv", csv_text(summary))
    captions = [f"{name.name}\n{describe_class(each)}" for name, each in shown]
    attribution_sheet("sheet", [each for _, each in shown], captions, title).save(out)
    section = regions_section(summary, table)
    pictures = [
        encode(f"{number}", each.strip(), f"{name.as_posix()}: {describe_class(each)}; {describe_regions(each)}.")
        for number, (name, each) in enumerate(shown)
    ]
    heading = f"Images ({len(shown):,} of {table['path'].nunique():,})"
    images = Section(heading, [f"From left to right: {describe_strip(shown[0][1])}."], pictures=pictures)
    write_page(out / "explain.html", title, [section, images], "It shows what a network uses, not what is right.")
    print_report(title, [section], brief=False)
    print(f"written to {out}")
