"""Synthetic cells of made-up patients, to try hemai without a download."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hemai.data.cache import cache_root
from hemai.data.cnmc import CNMC
from hemai.utils.errors import UserError, shorten
from hemai.utils.files import build_folder
from hemai.utils.terminal import track

VERSION = 1  # raise it with every change of the drawing, so that old images are not taken for new ones
SIZE_PX = 160
# Half the distance between the classes in each trait, in standard deviations within a patient. Chosen with the
# stains for a gap: the custom CNN reached a mean accuracy of 0.93 in splits by image and of 0.77 in splits by
# patient (25 epochs, cells of seed 0, 24 patients, four splits, on the 30 % that it was not trained on).
SEPARATION = 1.0
# Optical density of the nucleus and the cytoplasm for red, green and blue light; by eye, after C-NMC.
STAINS = np.array([[1.10, 1.85, 0.78], [0.72, 0.70, 0.24]])


@dataclass(frozen=True)
class Patient:
    """Properties that all cells of a patient share; sampled by `draw_patient`.

    Attributes:
        traits: Shape (5,): size of the nucleus, its fraction of the cell, fineness of the chromatin, number
            of nucleoli, irregularity of the outlines; 0 is halfway between the classes.
        stains: Optical density of nucleus and cytoplasm, shape (2, 3).
        light: Red, green and blue of the background beside the cell, 0 to 1, shape (3,).
        slope: Relative increase of light from the centre to the right and to the lower edge, shape (2,).
    """

    traits: np.ndarray
    stains: np.ndarray
    light: np.ndarray
    slope: np.ndarray


class Synthetic(CNMC):
    """Drawn single cells of made-up patients, with the folder and file names of C-NMC.

    Blasts differ from normal lymphocytes as in life: larger nucleus, less cytoplasm, finer chromatin,
    nucleoli. The classes overlap, and each patient deviates. Stain and light depend on the patient, not
    on the class; yet they identify the patient, so a split by image is optimistic.

    Args:
        root: Folder of the images, drawn there if it is missing or empty; by default in the cache.
        patients: Number of patients, 6 or more, about 60 % leukaemic. Both classes count from 1, as in C-NMC.
        cells: Number of images, about 60 % leukaemic; at least one per patient.
        seed: Seed of the images: the same settings give the same bytes, whatever the number of threads.

    Raises:
        UserError: Settings out of range, or `root` contains other files or cannot be written.
    """

    name = "synthetic"
    external = ()
    published = {}
    license = "MIT (drawn by hemai)"
    citation = "drawn by hemai"
    card = {
        "centres": "none: the patients are made up",
        "stain": "drawn after Wright-Giemsa",
        "reference_standard": "the class that was drawn",
    }

    def __init__(self, root: str | Path | None = None, patients: int = 60, cells: int = 1200, seed: int = 0) -> None:
        settings = {"patients": patients, "cells": cells, "seed": seed, "version": VERSION}
        if any(type(value) is not int for value in settings.values()) or not 6 <= patients <= cells or seed < 0:
            raise UserError(
                f"data: found patients={patients}, cells={cells}, seed={seed}; expected whole numbers, at least 6 "
                "patients (both classes in three folds), at least as many cells, and a seed of 0 or more"
            )
        name = f"{patients}-patients-{cells}-cells-seed-{seed}-v{VERSION}"
        root = cache_root() / "synthetic" / name if root is None else Path(os.path.expanduser(root)).absolute()
        if not _is_drawn(root, settings):
            _draw(root, settings)
        super().__init__(root)
        if len(self.table) != cells:
            self.problems.append(f"{len(self.table)} images instead of {cells}; delete the folder to draw them again")


def draw_patient(rng: np.random.Generator, leukaemic: bool) -> Patient:
    """Sample the properties that all cells of a patient share; only `traits` depends on the class."""
    return Patient(
        traits=(SEPARATION if leukaemic else -SEPARATION) + rng.normal(0, 0.6, 5),
        stains=STAINS * np.exp(rng.normal(0, 0.14, (2, 3)) + rng.normal(0, 0.12, (2, 1))),
        light=np.clip(np.array([0.80, 0.76, 0.70]) * np.exp(rng.normal(0, 0.07, 3) + rng.normal(0, 0.10)), 0.4, 1),
        slope=rng.normal(0, 0.07, 2),
    )


def draw_cell(rng: np.random.Generator, patient: Patient, size: int = SIZE_PX) -> np.ndarray:
    """Draw one cell in Wright-Giemsa stain: uint8 RGB, shape (size, size, 3), exactly 0 outside the cell."""
    unit = size / SIZE_PX  # lengths below are in px of the standard size
    large, full, fine, nucleolar, irregular = patient.traits + rng.normal(0, 1, 5)
    nucleus_radius = unit * np.clip(40 + 3.6 * large, 26, 54)
    cell_radius = min(nucleus_radius / np.sqrt(np.clip(0.78 + 0.055 * full, 0.5, 0.94)), 62 * unit)
    roughness = 0.05 * np.exp(0.25 * irregular)
    notch = rng.uniform(0.1, 0.35) if rng.uniform() < 0.22 else 0
    centre = unit * rng.uniform(-4, 4, 2)
    cell = _depth(rng, size, centre, cell_radius, roughness)
    centre = centre + _step(rng, 0.85 * np.sqrt(rng.uniform()) * (cell_radius - nucleus_radius))
    nucleus = np.minimum(_depth(rng, size, centre, nucleus_radius, roughness, notch), cell - 1.5 * unit)
    # Clumps with pale gaps are the mark of mature chromatin; that of blasts is fine and even.
    clumps = np.tanh(1.3 * _noise(rng, size, 4.2 * unit)) * np.clip(0.17 - 0.05 * fine, 0.02, 0.34)
    net = _noise(rng, size, 1.5 * unit) * np.clip(0.075 + 0.012 * fine, 0.03, 0.12)
    chromatin = _inside(nucleus, 1.2 * unit) * (1 + clumps + net + 0.1 * np.exp(-((nucleus / (2.5 * unit)) ** 2)))
    for _ in range(np.clip(round(0.8 + 0.9 * nucleolar), 0, 3)):
        position = centre + _step(rng, rng.uniform(0.1, 0.65) * nucleus_radius)
        nucleolus = _depth(rng, size, position, unit * rng.uniform(3.5, 7), roughness=0.1)
        chromatin *= 1 - rng.uniform(0.15, 0.35) * _inside(nucleolus, 1.5 * unit)

    grains = 1 + 0.10 * _noise(rng, size, 1.1 * unit) + 0.10 * _noise(rng, size, 6 * unit)
    halo = 1 - rng.uniform(0.1, 0.4) * np.exp(-((nucleus / (3.5 * unit)) ** 2))
    around = _inside(cell + 0.3 * unit, 2.5 * unit) * (1 - _inside(nucleus, 1.2 * unit))
    image = _photograph(rng, patient, np.stack([chromatin, around * grains * halo], axis=-1))
    return (image * _inside(cell, unit)[..., None]).round().astype(np.uint8)


def _photograph(rng: np.random.Generator, patient: Patient, amounts: np.ndarray) -> np.ndarray:
    """Photograph the amounts of both stains, (size, size, 2), in the patient's light; returns RGB, 0 to 255."""
    size = len(amounts)
    # Stains vary from cell to cell; otherwise colours would identify the patient almost without error.
    stains = patient.stains * np.exp(rng.normal(0, 0.03, (2, 1)) + rng.normal(0, 0.03, (2, 3)))
    ramp = np.linspace(-1, 1, size)
    shade = 1 + patient.slope[0] * ramp[None, :] + patient.slope[1] * ramp[:, None]
    light = 255 * patient.light * np.exp(rng.normal(0, 0.02)) * shade[..., None]
    image = (light * np.exp(-amounts @ stains)).astype(np.float32)  # Beer-Lambert's law
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.0) * size / SIZE_PX)
    return np.clip(image + 1.6 * rng.standard_normal(image.shape, dtype=np.float32), 0, 255)


def _depth(
    rng: np.random.Generator, size: int, centre: np.ndarray, radius: float, roughness: float, notch: float = 0
) -> np.ndarray:
    """Distance of each pixel from a smooth random outline, in px along the ray from its centre, positive inside.

    `centre` is (row, column) from the middle of the image; `roughness`, the amplitude of the longest wave,
    and `notch`, the depth of a single dent, are relative to `radius`.
    """
    rows, columns = (np.mgrid[:size, :size] - (size - 1) / 2 - centre[:, None, None]).astype(np.float32)
    angles = np.linspace(-np.pi, np.pi, 181)  # the outline is smooth: interpolation saves most of the time
    outline = np.ones_like(angles)
    for wave in range(2, 9):
        height = roughness * rng.normal() * (2 / wave) ** 1.4
        outline += height * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
    away = np.angle(np.exp(1j * (angles - rng.uniform(-np.pi, np.pi))))
    outline -= notch * np.exp(-((away / 0.3) ** 2))
    reach = np.interp(np.arctan2(rows, columns), angles, radius * outline)
    return reach.astype(np.float32) - np.hypot(rows, columns)


def _step(rng: np.random.Generator, length: float) -> np.ndarray:
    """Return a vector of this length in a random direction, shape (2,)."""
    angle = rng.uniform(0, 2 * np.pi)
    return length * np.array([np.sin(angle), np.cos(angle)])


def _inside(depth: np.ndarray, width: float) -> np.ndarray:
    """1 inside an outline, 0 outside, smooth over `width` px."""
    ramp = np.clip(depth / width + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _noise(rng: np.random.Generator, size: int, grain: float) -> np.ndarray:
    """Smooth noise with mean 0, standard deviation about 1 and grains of about `grain` px."""
    white = rng.standard_normal((size, size), dtype=np.float32)
    # A Gaussian leaves white noise with a standard deviation of 1 / (2 sqrt(pi) grain).
    return cv2.GaussianBlur(white, (0, 0), grain) * np.float32(2 * np.sqrt(np.pi) * grain)


def _is_drawn(root: Path, settings: dict[str, int]) -> bool:
    """Whether these cells are in `root`; False if it is missing or empty, UserError if it holds anything else."""
    try:
        names = sorted(os.listdir(root))
        if not names:
            return False
        found = (
            json.loads((root / "synthetic.json").read_text("utf-8")) if "synthetic.json" in names else shorten(names)
        )
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        found = error
    if found != settings:
        raise UserError(
            f"data.root: found {found} in {root}, expected an empty folder or cells drawn with {settings}; set "
            "data.root to another folder, or for your own images choose data=cnmc, data=iranian or data=folder"
        )
    return True


def _draw(root: Path, settings: dict[str, int]) -> None:
    size = settings["cells"] * (3 * SIZE_PX**2 + 4096)  # with the BMP header and unused parts of disk blocks
    title = f"drawing {settings['cells']:,} cells ({size / 1e6:,.0f} MB)"
    with build_folder(root, size, "set data.root or HEMAI_CACHE to another folder") as part:
        for _ in track(_write_cells(part, settings), title, total=settings["cells"]):
            pass
        (part / "synthetic.json").write_text(json.dumps(settings), "utf-8")
    _is_drawn(root, settings)  # another process may have drawn other cells there first


def _write_cells(root: Path, settings: dict[str, int]) -> Iterator[None]:
    """Draw all cells in threads, each cell with its own generator; yield after each."""

    def work(file: Path, patient: Patient, entropy: tuple[int, ...]) -> None:
        image = draw_cell(np.random.default_rng(entropy), patient)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(".bmp", image[..., ::-1])[1].tobytes())  # cv2.imwrite ignores a full disk

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(work, *zip(*_cells(root, settings), strict=True))


def _cells(root: Path, settings: dict[str, int]) -> Iterator[tuple[Path, Patient, tuple[int, ...]]]:
    """Yield (file, patient, entropy of the generator) of every cell."""
    patients, cells, seed = settings["patients"], settings["cells"], settings["seed"]
    leukaemic = min(max(3, round(0.6 * patients)), patients - 3)  # both classes in each of the three folds
    rng = np.random.default_rng((seed, 0, 0))  # patients and cells count from 1
    weights = rng.uniform(0.4, 1.6, patients)
    weights[:leukaemic] *= 0.6 / weights[:leukaemic].sum()
    weights[leukaemic:] *= 0.4 / weights[leukaemic:].sum()
    for i, count in enumerate(1 + rng.multinomial(cells - patients, weights)):
        label, number = ("all", i + 1) if i < leukaemic else ("hem", i - leukaemic + 1)
        name = f"{number}" if label == "all" else f"H{number}"
        patient = draw_patient(np.random.default_rng((seed, i + 1, 0)), label == "all")
        folder = root / "C-NMC_training_data" / f"fold_{number % 3}" / label
        for j in range(count):  # four cells per microscope image
            file = folder / f"UID_{name}_{j // 4 + 1}_{j % 4 + 1}_{label}.bmp"
            yield file, patient, (seed, i + 1, j + 1)
