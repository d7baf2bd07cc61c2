import subprocess
import sys

from typer.testing import CliRunner

from hemai.cli import app


def test_help_names_every_verb_and_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from hemai.cli import app; "
        "print(CliRunner().invoke(app, ['--help']).stdout); "
        "assert not {'torch', 'cv2', 'pandas', 'hydra'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "prepare" in done.stdout
    assert "train" in done.stdout


def test_prepare_checks_splits_and_caches_a_data_set(cache_folder):
    overrides = ["data.patients=9", "data.cells=60", "model.image_size=48"]
    done = CliRunner().invoke(app, ["prepare", *overrides])
    assert done.exit_code == 0, done.output
    assert "Split: no patient is in more than one of train, val, test" in done.stdout
    assert len(list(cache_folder.glob("synthetic-*/images.npy"))) == 1


def test_prepare_tells_what_differs_from_the_publication(tmp_path, draw_image):
    for patient in (1, 2, 3):
        draw_image(tmp_path / "fold_0" / "all" / f"UID_{patient}_1_1_all.bmp")
        draw_image(tmp_path / "fold_0" / "hem" / f"UID_H{patient}_1_1_hem.bmp")
    done = CliRunner().invoke(app, ["prepare", "data=cnmc", f"data.root={tmp_path}"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    assert "differs" in done.stdout  # 3 of 2,397 images
    assert "2,397" in done.stdout
    assert "missing" in done.stdout  # fold_1


def test_prepare_lists_all_unreadable_files_and_stops(tmp_path, draw_image):
    for name in ("all/UID_1_1_1_all.bmp", "all/UID_2_1_1_all.bmp", "hem/UID_H1_1_1_hem.bmp"):
        draw_image(tmp_path / name)
    (tmp_path / "all" / "UID_3_1_1_all.bmp").write_bytes(b"")
    (tmp_path / "all" / "UID_4_1_1_all.bmp").write_text("no picture")
    done = CliRunner().invoke(app, ["prepare", "data=cnmc", f"data.root={tmp_path}"])
    assert done.exit_code == 2
    assert "2 unreadable images" in done.stderr
    assert "UID_3_1_1_all.bmp" in done.stderr
    assert "UID_4_1_1_all.bmp" in done.stderr


def test_a_mistake_is_told_without_a_traceback():
    done = CliRunner().invoke(app, ["prepare", "data=cnmcc"])
    assert done.exit_code == 2
    assert "did you mean 'cnmc'" in done.stderr
