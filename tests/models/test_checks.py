import albumentations as A
import pytest
import pytorch_lightning as pl

from hemai.data import CellDataModule, FolderDataset
from hemai.models.classifier import CellClassifier
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


@pytest.mark.parametrize(
    "classes, positive, told",
    [
        ("ab", [], "classes='ab': expected a list of class names"),
        (2, [], "classes=2: expected a list"),
        (["a"], [], r"classes=\['a'\]: expected two different class names or more"),
        (["a", "b", "a"], [], "expected two different class names or more"),
        (["blast", "normal"], "blast", "positive='blast': expected a list"),
        (["blast", "normal"], ["blasts"], "positive: unknown class 'blasts'; did you mean 'blast'"),
    ],
)
def test_wrong_classes_are_refused(classes, positive, told):
    with pytest.raises(UserError, match=told):
        CellClassifier("custom_cnn", classes, positive)


@pytest.fixture
def build_data(folder_tree):
    root = folder_tree([f"{label}/P{i}_1.png" for label in ("blast", "normal") for i in range(9)])
    return lambda size: CellDataModule(FolderDataset, ImagePipeline([A.Resize(size, size)]), root, pattern=r"(P\d)_")


@pytest.mark.parametrize("classes", [("normal", "blast"), ("blast", "normal", "other")])
@pytest.mark.parametrize("verb", ["fit", "test"])
def test_a_classifier_with_other_classes_than_the_data_is_refused(build_data, classes, verb):
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, **QUIET)
    with pytest.raises(UserError, match="the classifier has the classes .*, the data blast, normal, in this order"):
        getattr(trainer, verb)(CellClassifier("custom_cnn", classes), datamodule=build_data(128))


def test_images_that_the_network_cannot_take_are_refused_before_training(build_data):
    model = CellClassifier("custom_cnn", ["blast", "normal"])
    with pytest.raises(UserError, match=r"custom_cnn cannot take .* 64 x 64 px .*Resize to model.image_size=128"):
        pl.Trainer(accelerator="cpu", max_epochs=1, **QUIET).fit(model, datamodule=build_data(64))
    assert model.training
