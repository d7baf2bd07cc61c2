import hashlib
import os
import shutil
from collections import namedtuple

import cv2
import numpy as np
import pytest

from hemai.data import synthetic
from hemai.data.synthetic import Synthetic, draw_cell, draw_patient
from hemai.utils.errors import UserError

SMALL = {"patients": 6, "cells": 24}


def fingerprints(root):
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in root.rglob("*.bmp")
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Synthetic(tmp_path_factory.mktemp("drawn") / "cells", **SMALL)


@pytest.mark.parametrize("threads", [1, 7])
def test_the_same_seed_gives_the_same_bytes_with_any_number_of_threads(small, tmp_path, monkeypatch, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    again = Synthetic(tmp_path / "again", **SMALL)
    assert fingerprints(again.root) == fingerprints(small.root)


def test_another_seed_gives_other_cells(small, tmp_path):
    other = Synthetic(tmp_path / "other", **SMALL, seed=1)
    assert not set(fingerprints(other.root).values()) & set(fingerprints(small.root).values())


def test_no_two_cells_are_the_same(small):
    assert len(set(fingerprints(small.root).values())) == SMALL["cells"]


@pytest.mark.parametrize("patients, cells", [(6, 6), (6, 24), (7, 20), (24, 60)])
def test_every_fold_has_both_classes_and_no_patient_is_in_two(tmp_path, patients, cells):
    data = Synthetic(tmp_path / "cells", patients=patients, cells=cells)
    data.check()
    assert len(data.table) == cells and data.table["group"].nunique() == patients
    assert (data.table.groupby("fold")["label"].nunique() == 2).all()
    assert sorted(data.table["fold"].unique()) == ["fold_0", "fold_1", "fold_2"]
    assert (data.table.groupby("group")["fold"].nunique() == 1).all()


def test_names_follow_the_grammar_of_cnmc_and_numbers_occur_in_both_classes(small):
    groups = small.table.groupby("label")["group"].unique()
    assert sorted(groups["all"]) == ["1", "2", "3"] and sorted(groups["hem"]) == ["H1", "H2", "H3"]
    path, label, group, fold = small.table.iloc[0]
    assert path.startswith(f"C-NMC_training_data/{fold}/{label}/UID_{group}_") and path.endswith(f"_{label}.bmp")


def test_about_60_percent_of_patients_and_cells_are_leukaemic(tmp_path):
    files = list(synthetic._cells(tmp_path, {"patients": 24, "cells": 1200, "seed": 0}))
    leukaemic = [file.parent.name == "all" for file, _, _ in files]
    groups = {(file.parent.name, file.name.split("_")[1]) for file, _, _ in files}
    assert len(files) == 1200 and np.mean(leukaemic) == pytest.approx(0.6, abs=0.05)
    assert len(groups) == 24 and sum(label == "all" for label, _ in groups) == 14


def test_images_are_24_bit_bitmaps_of_one_cell_on_exact_black(small):
    for path in small.table["path"]:
        data = (small.root / path).read_bytes()
        # Bits a pixel of a BMP: two bytes at offset 28 (BITMAPINFOHEADER.biBitCount).
        assert data[:2] == b"BM" and int.from_bytes(data[28:30], "little") == 24
        image = cv2.imread(str(small.root / path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (160, 160, 3) and image.dtype == np.uint8
        frame = np.ones((160, 160), bool)
        frame[1:-1, 1:-1] = False
        assert not image[frame].any()
        assert cv2.connectedComponents(image.any(axis=2).astype(np.uint8))[0] == 2  # background and one cell


def test_the_nuclei_of_blasts_are_larger_and_fill_more_of_the_cell():
    nuclei, shares = {}, {}
    for leukaemic in (True, False):
        areas = []
        for number in range(40):
            rng = np.random.default_rng((leukaemic, number))
            image = draw_cell(rng, draw_patient(rng, leukaemic))
            inside = image.any(axis=2)
            # The nucleus takes far more green light than the cytoplasm: Otsu's threshold parts them.
            threshold, _ = cv2.threshold(image[..., 1][inside], 0, 255, cv2.THRESH_OTSU)
            areas.append(((image[..., 1] <= threshold) & inside).sum() / [1, inside.sum()])
        nuclei[leukaemic], shares[leukaemic] = np.mean(areas, axis=0)
    assert nuclei[True] > 1.15 * nuclei[False]
    assert shares[True] > shares[False]


def test_the_colours_of_a_patient_agree_and_those_of_patients_differ():
    colours = []
    for number in range(12):
        patient = draw_patient(np.random.default_rng(number), leukaemic=True)
        images = [draw_cell(np.random.default_rng((number, cell)), patient) for cell in range(6)]
        colours.append([image[image.any(axis=2)].mean(axis=0) for image in images])
    colours = np.array(colours)  # (patient, cell, channel)
    assert (colours.mean(axis=1).std(axis=0) > 1.5 * colours.std(axis=1).mean(axis=0)).all()


@pytest.mark.parametrize("size", [80, 320])
def test_a_cell_scales_with_the_image(size):
    image = draw_cell(np.random.default_rng(0), draw_patient(np.random.default_rng(0), leukaemic=False), size)
    assert image.shape == (size, size, 3)
    assert 0.1 < image.any(axis=2).mean() < 0.6


def test_a_drawn_folder_is_used_again(small, monkeypatch):
    monkeypatch.setattr(synthetic, "_draw", lambda *_: pytest.fail("drawn twice"))
    assert Synthetic(small.root, **SMALL).table.equals(small.table)


def test_without_a_root_the_cells_are_drawn_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMAI_CACHE", str(tmp_path))
    data = Synthetic(**SMALL)
    assert data.root == tmp_path / "synthetic" / "6-patients-24-cells-seed-0-v1"
    assert [folder.name for folder in data.root.parent.iterdir()] == [data.root.name]


def test_cells_are_drawn_into_an_empty_folder(small, tmp_path):
    assert fingerprints(Synthetic(tmp_path, **SMALL).root) == fingerprints(small.root)


def test_cells_of_other_settings_are_refused(small):
    with pytest.raises(UserError, match="'seed': 0.*'seed': 3.*another folder"):
        Synthetic(small.root, **SMALL, seed=3)


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="thesis.txt.*another folder"):
        Synthetic(tmp_path, **SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", ["{", "{}", "null", '{"seed": 0}'])
def test_a_folder_with_a_strange_record_is_refused(tmp_path, content):
    (tmp_path / "synthetic.json").write_text(content)
    with pytest.raises(UserError, match="expected an empty folder or cells drawn with"):
        Synthetic(tmp_path, **SMALL)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "cells").write_text("")
    with pytest.raises(UserError, match="expected an empty folder or cells drawn with"):
        Synthetic(tmp_path / "cells", **SMALL)


@pytest.mark.parametrize("reason", [KeyboardInterrupt, MemoryError])
def test_a_killed_run_leaves_nothing_under_the_final_name(tmp_path, monkeypatch, reason):
    root, drawn = tmp_path / "cells", []

    def stop_half_way(*arguments):
        drawn.append(root.exists())
        if len(drawn) > 12:
            raise reason
        return draw_cell(*arguments)

    monkeypatch.setattr(synthetic, "draw_cell", stop_half_way)
    with pytest.raises(reason):
        Synthetic(root, **SMALL)
    assert not any(drawn), "the final name appeared while cells were still being drawn"
    assert not list(tmp_path.iterdir())


def test_the_cells_of_a_process_that_was_first_are_used(small, tmp_path, monkeypatch):
    root = tmp_path / "cells"

    def overtaken(items, title, total):
        yield from items
        shutil.copytree(small.root, root)

    monkeypatch.setattr(synthetic, "track", overtaken)
    assert len(Synthetic(root, **SMALL).table) == SMALL["cells"]
    assert list(tmp_path.iterdir()) == [root]


def test_a_full_disk_is_reported_before_drawing(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1_000_000))
    with pytest.raises(UserError, match="cannot write 2 MB.*1 MB are free.*free space"):
        Synthetic(tmp_path / "cells", **SMALL)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_while_drawing_is_reported(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(UserError, match="No space left on device.*free space"):
        Synthetic(tmp_path / "cells", **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "settings", [{"patients": 5}, {"patients": 12, "cells": 11}, {"seed": -1}, {"cells": 99.5}, {"seed": "0"}]
)
def test_settings_out_of_range_are_refused(tmp_path, settings):
    with pytest.raises(UserError, match="expected whole numbers"):
        Synthetic(tmp_path / "cells", **settings)


def test_missing_images_are_a_problem_that_check_reports(tmp_path):
    data = Synthetic(tmp_path / "cells", **SMALL)
    (data.root / data.table["path"][0]).unlink()
    with pytest.raises(UserError, match="23 images instead of 24"):
        Synthetic(data.root, **SMALL).check()
