import numpy as np
import pytest
import torch
from PIL import Image

from hemai.models.classifier import CellClassifier
from hemai.runs.inference import predict_images
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

IMAGE = np.zeros((50, 50, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    metadata = {"prepare": ImagePipeline([]).prepare_spec, "group_kind": "patient"}
    return CellClassifier("custom_cnn", ["a", "b"], image_size=50, options={"img_size": 50}, metadata=metadata)


@pytest.mark.parametrize(
    "images, told",
    [
        (None, "found NoneType, expected paths, or uint8 RGB arrays"),
        (3, "found int, expected paths"),
        (b"a.png", "found bytes"),
        ({"a": 1}, "found dict"),
        (np.array("a.png"), "found ndarray"),
        (torch.zeros(2, 50, 50, 3, dtype=torch.uint8), "found Tensor"),
        (Image.new("RGB", (50, 50)), "found Image"),
        ([Image.new("RGB", (50, 50))], "found a list with Image"),
        ([IMAGE, "a.png"], "found paths and arrays in one list"),
        (["a.png", IMAGE], "found paths and arrays in one list"),
        ([1, 2], "found a list with int"),
        ([IMAGE[:0]], r"image 0: uint8 of shape \(0, 50, 3\), expected"),
        (IMAGE[:, :0], r"image 0: uint8 of shape \(50, 0, 3\), expected"),
        ([], "no image given"),
    ],
)
def test_what_is_no_image_is_refused_by_its_type(model, images, told):
    with pytest.raises(UserError, match=told):
        predict_images([model], images)


@pytest.mark.parametrize("images", [IMAGE, [IMAGE], IMAGE[None], (image for image in [IMAGE])])
def test_arrays_are_predicted(model, images):
    assert predict_images([model], images)[0].logits.shape == (1, 2)
