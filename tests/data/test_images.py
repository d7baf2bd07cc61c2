import albumentations as A
import cv2
import numpy as np
import pytest
from PIL import Image

from hemai.data.images import prepared_shape, read_image
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (48, 40, 3), np.uint8)
LOSSLESS = ["bmp", "png", "tif", "webp"]


def save(image, file, **options):
    """Write with Pillow, which shares no code with OpenCV's own readers."""
    if file.suffix == ".webp":
        options |= {"lossless": True, "exact": True}
    image.save(file, **options)
    return file


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_are_read_exactly_as_rgb(tmp_path, suffix):
    image = read_image(save(Image.fromarray(COLOURS), tmp_path / f"image.{suffix}"))
    assert image.dtype == np.uint8
    assert np.array_equal(image, COLOURS)


def test_jpeg_is_read_as_rgb(tmp_path):
    smooth = np.full((32, 32, 3), (200, 100, 30), np.uint8)
    image = read_image(save(Image.fromarray(smooth), tmp_path / "image.jpg", quality=95))
    assert image.shape == (32, 32, 3)
    assert np.abs(image.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("suffix", ["bmp", "png", "tif"])
def test_grey_images_get_three_equal_channels(tmp_path, suffix):
    grey = COLOURS[..., 0]
    image = read_image(save(Image.fromarray(grey), tmp_path / f"image.{suffix}"))
    assert image.shape == (48, 40, 3)
    assert (image == grey[..., None]).all()


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_an_opaque_alpha_channel_is_dropped(tmp_path, suffix):
    alpha = np.full((48, 40, 1), 255, np.uint8)
    image = read_image(save(Image.fromarray(np.dstack([COLOURS, alpha])), tmp_path / f"image.{suffix}"))
    assert np.array_equal(image, COLOURS)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_of_16_bits_the_upper_8_are_kept(tmp_path, suffix, channels):
    deep = RNG.integers(0, 2**16, (48, 40, channels), np.uint16)
    assert cv2.imwrite(str(tmp_path / f"image.{suffix}"), deep[..., ::-1])
    image = read_image(tmp_path / f"image.{suffix}")
    assert image.shape == (48, 40, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, np.broadcast_to(deep >> 8, image.shape))


@pytest.mark.parametrize("suffix", ["bmp", "png", "tif"])
def test_palettes_are_resolved(tmp_path, suffix):
    indexed = Image.fromarray(COLOURS).convert("P")
    assert np.array_equal(read_image(save(indexed, tmp_path / f"image.{suffix}")), np.asarray(indexed.convert("RGB")))


@pytest.mark.parametrize("suffix", [*LOSSLESS, "jpg"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_file_cut_short_is_an_error(tmp_path, suffix, share):
    file = save(Image.fromarray(COLOURS), tmp_path / f"image.{suffix}")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="truncated"):
        read_image(file)


@pytest.mark.parametrize(("content", "message"), [(b"", "the file is empty"), (b"no pixels", "not an image")])
def test_a_file_that_is_no_image_is_an_error(tmp_path, content, message):
    (tmp_path / "image.bmp").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "image.bmp")


def test_any_name_can_be_read(tmp_path):
    file = save(Image.fromarray(COLOURS), tmp_path / "Snap_001 (3) [é].png")
    assert np.array_equal(read_image(file), COLOURS)


def test_a_random_prepare_list_is_refused(draw_image, tmp_path):
    file = draw_image(tmp_path / "image.png")
    assert prepared_shape([file], ImagePipeline([A.CenterCrop(8, 8)]).prepare_spec) == (8, 8, 3)
    with pytest.raises(UserError, match="transform.prepare is random"):
        prepared_shape([file], ImagePipeline([A.RandomCrop(8, 8, p=1)]).prepare_spec)
