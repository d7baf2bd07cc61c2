import json

import albumentations as A
import cv2
import numpy as np
import pytest

from hemai.data.images import prepare_images
from hemai.settings.compose import compose
from hemai.settings.instantiate import build
from hemai.transforms import ImagePipeline, KeepSilhouette, KeepTexture, SegmentNucleus
from hemai.transforms.controls import cell_mask, largest_square
from tests.smears import dice, discs, draw_smear

CONTROLS = [KeepSilhouette, KeepTexture]


def cut_out(radius=60, colour=(90, 50, 120), size=224):
    """A cell on a black that is not 0 everywhere, its edge one of several colours."""
    image = np.random.default_rng(0).integers(0, 9, (size, size, 3), np.uint8)
    return cv2.circle(image, (size // 2, size // 2), radius, colour, -1)


@pytest.mark.parametrize("colour", [(90, 50, 120), (30, 20, 25), (200, 210, 190)], ids=["stained", "dark", "pale"])
def test_a_silhouette_is_the_cell_white_on_black_whatever_its_colour(colour):
    silhouette = KeepSilhouette()(image=cut_out(colour=colour))["image"]
    assert np.array_equal(silhouette, np.stack([255 * discs((224, 224), [(112, 112, 60)])] * 3, axis=2))


def test_of_a_smear_the_silhouette_is_that_of_its_nuclei():
    image, nuclei = draw_smear(), [(60, 60, 20), (150, 160, 25)]
    silhouette = KeepSilhouette()(image=image)["image"]
    assert set(np.unique(silhouette)) == {0, 255}
    assert dice((silhouette[..., 0] > 0).astype(np.uint8), discs((224, 224), nuclei)) > 0.95
    assert np.array_equal(silhouette[..., 0] > 0, SegmentNucleus().segment(image).mask > 0)


def test_small_specks_are_no_cells_and_holes_belong_to_the_cell():
    image = cut_out()
    cv2.circle(image, (112, 112), 10, (0, 0, 0), -1)
    cv2.circle(image, (10, 10), 3, (90, 50, 120), -1)
    assert np.array_equal(cell_mask(image), discs((224, 224), [(112, 112, 60)]))


@pytest.mark.parametrize("radius", [20, 60, 100])
def test_a_texture_is_a_square_of_the_cell_alone(radius):
    image = cut_out(radius)
    texture = KeepTexture()(image=image)["image"]
    height, width = texture.shape[:2]
    assert height == width == pytest.approx(radius * 2**0.5, abs=2.5)  # the square inscribed in a circle
    assert (texture == (90, 50, 120)).all()


def test_the_largest_square_is_found_by_trying_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = cv2.dilate((rng.random((15, 22)) < 0.1).astype(np.uint8), np.ones((3, 4)))
        rows, columns = largest_square(mask)
        side = rows.stop - rows.start
        assert columns.stop - columns.start == side
        assert mask[rows, columns].shape == (side, side) and mask[rows, columns].all()
        larger = side + 2
        assert not any(
            mask[row : row + larger, column : column + larger].all()
            for row in range(15 - larger + 1)
            for column in range(22 - larger + 1)
        )


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("image", [np.zeros((50, 60, 3), np.uint8), draw_smear(nuclei=[])], ids=["black", "no nucleus"])
def test_an_image_without_a_cell_becomes_black_and_is_told(control, image, tmp_path):
    transform = control()
    assert not transform(image=image)["image"].any()
    assert transform.get_applied_params()["found"] is False
    cv2.imwrite(str(tmp_path / "image.png"), image)
    spec = ImagePipeline([control(), A.Resize(16, 16)]).prepare_spec
    ((prepared, problem, no_nucleus, *_),) = prepare_images([tmp_path / "image.png"], spec, (16, 16, 3))
    assert (prepared.any(), problem, no_nucleus) == (False, "", True)


@pytest.mark.parametrize("control", CONTROLS)
def test_other_types_of_images_are_refused(control):
    with pytest.raises(ValueError, match="expected uint8 RGB"):
        control()(image=np.zeros((20, 20, 3), np.float32))


@pytest.mark.parametrize("name, control", zip(("silhouette", "texture"), CONTROLS, strict=True))
def test_a_checkpoint_repeats_the_control(name, control):
    pipeline = build(compose([f"transform={name}", "model.image_size=32"]).transform)
    again = A.from_dict(json.loads(json.dumps(pipeline.prepare_spec)))
    image = draw_smear()
    expected = A.Compose([control(), A.Resize(32, 32, interpolation=3 if name == "silhouette" else 1)])(image=image)
    assert np.array_equal(again(image=image)["image"], expected["image"])
