"""Small data sets, drawn by the tests, and a cache that nothing leaks into."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Networks this small are slower on several threads, which wait for each other; many times so where other
# processes take the cores. It must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.small_run import train

SIZE = 48  # px

# Images of each patient in the three official folds of C-NMC, as published; together 10,661.
CNMC_PATIENTS = {
    ("fold_0", "all"): "52:402 48:268 45:253 50:246 35:155 26:142 4:113 5:112 22:103 14:99 11:92 28:92 20:76 17:74 "
    "43:73 15:58 1:19 3:11 19:9",
    ("fold_0", "hem"): "H24:404 H12:185 H15:162 H17:119 H19:108 H16:69 H11:47 H6:18 H7:18",
    ("fold_1", "all"): "51:757 34:352 32:212 30:201 46:190 33:181 44:146 38:145 23:97 2:84 16:53",
    ("fold_1", "hem"): "H10:405 H14:385 H22:373",
    ("fold_2", "all"): "47:278 67:267 68:250 78:218 37:197 49:197 25:178 27:178 24:161 31:111 75:99 13:89 21:80 18:74 "
    "36:35 74:31 72:14",
    ("fold_2", "hem"): "H23:327 H40:140 H13:137 H2:112 H20:100 H48:50 H9:46 h3:36 H1:32 H18:30 H46:29 H5:28 H8:20 H4:9",
}


def draw(file: Path) -> Path:
    """Write an image of noise; its name, folder included, decides the noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32("/".join(file.parts[-2:]).encode()))
    encoded, content = cv2.imencode(file.suffix, rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    assert encoded
    file.write_bytes(content.tobytes())
    return file


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for all tests, beside the user's: cells are drawn and prepared once for each size."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEMAI_CACHE", str(folder))
        yield folder


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for tests of the cache itself."""
    monkeypatch.setenv("HEMAI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder and result of a small training with all that a run leaves; tests read it and change copies."""
    folder = tmp_path_factory.mktemp("small") / "run"
    return folder, train(f"run_dir={folder}", "report=true", "plots=true", "logger=tensorboard")


@pytest.fixture
def draw_image() -> Callable[[Path], Path]:
    """Draw one image file of any format, 48 x 48 px."""
    return draw


@pytest.fixture(scope="session")
def cnmc_names() -> dict[str, list[str]]:
    """Fold -> names, with the true number of images of every patient."""
    names: dict[str, list[str]] = {}
    for (fold, label), patients in CNMC_PATIENTS.items():
        for patient, images in (pair.split(":") for pair in patients.split()):
            names.setdefault(fold, []).extend(f"UID_{patient}_{i + 1}_1_{label}.bmp" for i in range(int(images)))
    return names


@pytest.fixture(scope="session")
def cnmc_table(cnmc_names: dict[str, list[str]]) -> pd.DataFrame:
    """The table of all 10,661 training cells, by the names alone."""
    return pd.DataFrame(
        [
            (f"{fold}/{name}", name[:-4].split("_")[4], name.split("_")[1].upper(), fold)
            for fold, names in cnmc_names.items()
            for name in names
        ],
        columns=["path", "label", "group", "fold"],
    )


@pytest.fixture
def cnmc_tree(tmp_path: Path) -> Callable[..., Path]:
    """Draw C-NMC as TCIA or Kaggle publish it, from fold -> names and the original names of the preliminary set."""

    def build(
        folds: Mapping[str, Sequence[str]],
        preliminary: Sequence[str] = (),
        final: int = 0,
        layout: str = "tcia",
        create: Callable[[Path], object] = draw,
        root: Path = tmp_path / "data",
    ) -> Path:
        top = root if layout == "tcia" else root / "C-NMC_Leukemia"
        training, validation, testing = {
            "tcia": ("C-NMC_training_data", ".", "."),
            "kaggle": ("training_data", "validation_data", "testing_data"),
        }[layout]
        for fold, names in folds.items():
            for label in ("all", "hem"):
                folder = top / training / fold / label
                folder.mkdir(parents=True)
                for name in names:
                    if Path(name).stem.endswith(label):
                        create(folder / name)
        for i, _ in enumerate(preliminary, start=1):
            draw(top / validation / "C-NMC_test_prelim_phase_data" / f"{i}.bmp")
        for i in range(1, final + 1):
            draw(top / testing / "C-NMC_test_final_phase_data" / f"{i}.bmp")
        if preliminary:
            rows = [(n, f"{i}.bmp", int("all" in n)) for i, n in enumerate(preliminary, start=1)]
            file = top / validation / "C-NMC_test_prelim_phase_data_labels.csv"
            pd.DataFrame(rows, columns=["Patient_ID", "new_names", "labels"]).to_csv(file, index=False)
        return root

    return build


@pytest.fixture
def iranian_tree(tmp_path: Path) -> Callable[..., Path]:
    """Draw the Iranian set: `numbers` of every class, in the folders and names of one version."""

    def build(version: str = "small", numbers: Sequence[int] = (1, 2), root: Path = tmp_path / "data") -> Path:
        if version == "small":
            folders = {f"Original/{c}": f"WBC-{c}-" for c in ("Benign",)}
            folders |= {f"Original/{c}": f"WBC-Malignant-{c}-" for c in ("Early", "Pre", "Pro")}
        else:
            classes = ("Benign", "[Malignant] early Pre-B", "[Malignant] Pre-B", "[Malignant] Pro-B")
            folders = {f"Blood cell Cancer [ALL]/{c}": "Snap_" for c in classes}
        for folder, prefix in folders.items():
            for number in numbers:
                draw(root / folder / f"{prefix}{number:03}.jpg")
        return root

    return build


@pytest.fixture
def folder_tree(tmp_path: Path) -> Callable[..., Path]:
    """Draw a plain tree of images from their paths."""

    def build(paths: Sequence[str], root: Path = tmp_path / "data") -> Path:
        for path in paths:
            draw(root / path)
        return root

    return build


@pytest.fixture
def real_data() -> Path:
    """The published images, where a developer has them."""
    if not os.environ.get("HEMAI_TEST_DATA"):
        pytest.skip("HEMAI_TEST_DATA is not set: the published images are not here (folders cnmc/ and iranian/)")
    return Path(os.environ["HEMAI_TEST_DATA"])
