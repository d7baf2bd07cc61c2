import re

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hemai.cli import app
from hemai.data.images import find_images, read_image
from hemai.reporting.segmentation import draw_stages
from hemai.settings.compose import compose
from hemai.settings.instantiate import build
from hemai.transforms import SegmentNucleus
from hemai.utils.errors import UserError
from tests.smears import draw_smear


@pytest.fixture
def smears(tmp_path):
    """Two images with a nucleus and one without, in two folders with awkward names."""
    root = tmp_path / "Blood cell [ALL]"
    for name, radius in (("a (1)/Snap_001.png", 20), ("a (1)/Snap_002.png", 30), ("b/Snap_001.png", 0)):
        image = np.full((120, 160, 3), (245, 245, 250), np.uint8)
        cv2.circle(image, (80, 60), radius, (120, 70, 190), -1) if radius else None
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return root


def segment(*arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)], env={"COLUMNS": "150"})


def test_a_folder_gives_pictures_and_one_row_an_image(smears, tmp_path):
    out = tmp_path / "out"
    done = segment(smears, "--out", out, "--stages")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(out / "segments.csv")
    assert table["image"].tolist() == ["a (1)/Snap_001.png", "a (1)/Snap_002.png", "b/Snap_001.png"]
    assert table["found"].tolist() == [True, True, False]
    assert table["objects"].tolist() == [1, 1, 0]
    # Pixels of the drawn discs.
    discs = [cv2.circle(np.zeros((120, 160), np.uint8), (80, 60), radius, 1, -1).sum() for radius in (20, 30)]
    assert table["area_px"].tolist() == [*discs, 0]
    assert table["area_share"].tolist() == pytest.approx([*(area / 120 / 160 for area in discs), 0], abs=1e-6)
    assert (table["milliseconds"] > 0).all()
    assert "no nucleus found: b/Snap_001.png" in done.stdout
    for kind in ("masks", "cutouts", "overlays", "stages"):
        names = sorted(path.relative_to(out / kind).as_posix() for path in (out / kind).rglob("*.png"))
        assert names == table["image"].tolist()
    whole = read_image(smears / "b" / "Snap_001.png")
    assert np.array_equal(read_image(out / "cutouts" / "b" / "Snap_001.png"), whole)  # as in training
    image = read_image(smears / "a (1)" / "Snap_001.png")
    mask = read_image(out / "masks" / "a (1)" / "Snap_001.png")
    cutout = read_image(out / "cutouts" / "a (1)" / "Snap_001.png")
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(cutout, np.where(mask > 0, image, 0))


def test_an_overlay_is_the_image_with_green_outlines(smears, tmp_path):
    assert segment(smears / "a (1)" / "Snap_001.png", "--out", tmp_path / "out").exit_code == 0
    image, overlay = read_image(smears / "a (1)" / "Snap_001.png"), read_image(tmp_path / "out/overlays/Snap_001.png")
    changed = (image != overlay).any(axis=2)
    assert (overlay[changed] == (0, 255, 0)).all()
    distance = np.hypot(*(np.argwhere(changed) - (60, 80)).T)
    assert 18 < distance.min() <= distance.max() < 22  # the disc has a radius of 20
    assert changed.sum() > 100


def test_a_place_that_cannot_be_written_is_told(smears, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = segment(smears, "--out", tmp_path / "file" / "out")
    assert done.exit_code == 2
    assert "--out" in done.stderr


def test_a_file_and_a_pattern_are_taken_too(smears, tmp_path):
    assert segment(smears / "b" / "Snap_001.png", "--out", tmp_path / "one").exit_code == 0
    assert len(pd.read_csv(tmp_path / "one" / "segments.csv")) == 1
    done = segment(f"{smears}/a*/*_00?.png", "--out", tmp_path / "two")  # below a folder with brackets
    assert done.exit_code == 0, done.output
    assert pd.read_csv(tmp_path / "two" / "segments.csv")["image"].tolist() == ["Snap_001.png", "Snap_002.png"]


def test_the_recipe_and_the_size_can_be_chosen(smears, tmp_path):
    image = smears / "a (1)" / "Snap_001.png"
    for name, settings in (("plain", []), ("rim", ["transform.prepare.segment.margin_px=20"])):
        assert segment(image, *settings, "--out", tmp_path / name, "--size", 64).exit_code == 0
    tables = [pd.read_csv(tmp_path / name / "segments.csv") for name in ("plain", "rim")]
    assert all(table["height"].tolist() == table["width"].tolist() == [64] for table in tables)
    assert tables[1]["area_px"][0] > tables[0]["area_px"][0]


def test_a_name_may_look_like_a_formula_and_a_file_be_too_large(smears, tmp_path):
    (smears / "b" / "Snap_001.png").rename(smears / "b" / "$x_$.png")
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    (smears / "b" / "huge.png").write_bytes(header + b"\x00" * 40)
    done = segment(smears, "--out", tmp_path / "out", "--stages")
    assert done.exit_code == 2
    assert "1 of 4 images could not be read: b/huge.png" in done.stderr
    table = pd.read_csv(tmp_path / "out" / "segments.csv", dtype=str)
    assert table["height"].tolist()[:2] == ["120", "120"]
    assert (tmp_path / "out" / "stages" / "b" / "$x_$.png").is_file()


def test_unreadable_images_are_told_after_the_others_are_done(smears, tmp_path):
    (smears / "b" / "broken.png").write_bytes(b"no image")
    done = segment(smears, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "1 of 4 images could not be read: b/broken.png (not an image of 8 or 16 bits" in done.stderr
    table = pd.read_csv(tmp_path / "out" / "segments.csv")
    assert table["error"].notna().sum() == 1
    assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == 3


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["nowhere"], "no image at nowhere; expected a file, a folder or a pattern"),
        (["{smears}", "transform=plain"], "contains no SegmentNucleus; choose transform=segmented"),
        (["{smears}", "transform=segmentd"], "did you mean 'segmented'"),
        (["{smears}", "transform.prepare.segment.clusters=0"], "transform.prepare.segment.clusters=0: Input should be"),
        (["{smears}", "~transform.prepare.segment"], "contains no SegmentNucleus"),
        (["{smears}", "transform.prepare.segment=null"], "contains no SegmentNucleus"),
        (["transform=hosseini"], "no image given; expected files"),
        ([""], "no image given; expected files"),
        (
            ["{smears}", "model.image_size=48"],
            "model.image_size=48: expected only images and settings of the transform",
        ),
        (["{smears}", "--size", "0"], "--size 0: expected 1 or more"),
        (["{smears}", "--out", "{smears}"], "is not an empty folder"),
        (["{smears}", "~nobody/x.png"], "no image at ~nobody/x.png"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(smears, tmp_path, arguments, told):
    arguments = [argument.format(smears=smears) for argument in arguments]
    out = [] if "--out" in arguments else ["--out", tmp_path / "out"]
    done = segment(*arguments, *out)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_find_images_names_files_below_the_folder_given(smears):
    found = find_images([str(smears)])
    assert [name.as_posix() for name in found.values()] == [
        "a (1)/Snap_001.png",
        "a (1)/Snap_002.png",
        "b/Snap_001.png",
    ]
    with pytest.raises(UserError, match="no image"):
        find_images([str(smears / "*.gif")])


def test_images_of_one_name_are_told_apart(smears, tmp_path):
    image = cv2.imread(str(smears / "b" / "Snap_001.png"))
    cv2.imwrite(str(smears / "b" / "Snap_001.tif"), image)
    done = segment(smears / "a (1)" / "Snap_001.png", smears / "b", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    names = ["a (1)/Snap_001.png", "b/Snap_001.png", "b/Snap_001.tif"]
    assert pd.read_csv(tmp_path / "out" / "segments.csv")["image"].tolist() == names
    masks = sorted(path.relative_to(tmp_path / "out/masks").as_posix() for path in (tmp_path / "out/masks").rglob("*"))
    assert masks == ["a (1)", "a (1)/Snap_001.png.png", "b", "b/Snap_001.png.png", "b/Snap_001.tif.png"]


def test_no_picture_takes_the_place_of_another(smears, tmp_path):
    image = cv2.imread(str(smears / "b" / "Snap_001.png"))
    (tmp_path / "x" / "q.png").mkdir(parents=True)
    for name in ("x.jpg", "x.tif", "x.jpg.png", "q.jpg", "q.png/r.jpg"):
        cv2.imwrite(str(tmp_path / "x" / name), image)
    assert segment(tmp_path / "x", "--out", tmp_path / "out").exit_code == 0
    assert sum(path.is_file() for path in (tmp_path / "out" / "masks").rglob("*")) == 5


@pytest.mark.parametrize("recipe", ["segmented", "hosseini", "report_segmented"])
def test_a_mask_is_the_one_of_training(smears, tmp_path, recipe):
    file = smears / "a (1)" / "Snap_001.png"
    assert segment(file, f"transform={recipe}", "--out", tmp_path / "out").exit_code == 0
    trained = read_image(file)
    for step in build(compose([f"transform={recipe}", "model.image_size=224"]).transform).prepare[:-1]:
        trained = step(image=trained)["image"]
    assert np.array_equal(read_image(tmp_path / "out" / "cutouts" / "Snap_001.png"), trained)


def test_the_summary_counts_what_was_found(smears, tmp_path):
    shown = segment(smears, "--out", tmp_path / "out").stdout
    counts = dict(re.findall(r"(nucleus found|none found|unreadable) +([\d,]+)", shown))
    assert counts == {"nucleus found": "2", "none found": "1", "unreadable": "0"}
    table = pd.read_csv(tmp_path / "out" / "segments.csv")
    assert f"{table['area_share'][:2].median():.1%}" in shown


def test_size_averages_the_pixels_that_fall_together(tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 200
    cv2.imwrite(str(tmp_path / "stripes.png"), image)
    assert segment(tmp_path / "stripes.png", "--out", tmp_path / "out", "--size", 32).exit_code == 0
    assert (read_image(tmp_path / "out" / "cutouts" / "stripes.png") == 100).all()


@pytest.mark.parametrize("height, width", [(4, 4000), (4000, 4)])
def test_the_stages_of_a_strip_fit_on_a_page(height, width):
    image = np.full((height, width, 3), 200, np.uint8)
    figure = draw_stages(image, SegmentNucleus().segment(image), image, "strip")
    assert max(figure.get_size_inches()) < 25


def test_the_six_stages_stand_in_their_order():
    image = draw_smear()
    stages = SegmentNucleus().segment(image)
    cutout = SegmentNucleus().cut(image, stages)
    panels = draw_stages(image, stages, cutout, "smear").axes
    assert [axes.get_title()[0] for axes in panels] == list("abcdef")
    shown = [axes.get_images()[0].get_array() for axes in panels]
    for drawn, stage in zip(
        shown, (image, stages.channel, stages.clustered, stages.rough, stages.mask, cutout), strict=True
    ):
        assert np.array_equal(drawn, stage)


def test_a_step_that_an_image_is_too_small_for_is_told_with_the_file(smears, tmp_path):
    crop = "transform.prepare.first={_target_:albumentations.CenterCrop,height:500,width:500}"
    done = segment(smears, crop, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "Snap_001.png: transform.prepare fails" in done.stderr
