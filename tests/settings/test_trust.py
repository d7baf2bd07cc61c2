"""Which code a run folder may name."""

import sys

import pytest

from hemai.settings.trust import check_names, check_overrides, is_trusted
from hemai.utils.errors import UserError


@pytest.mark.parametrize(
    "name",
    [
        "albumentations.Resize",
        "albumentations.OneOf",
        "albumentations.augmentations.geometric.resize.Resize",
        "pytorch_lightning.loggers.CSVLogger",
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.Trainer",
        "hemai.data.CNMC",
        "hemai.transforms.SegmentNucleus",
    ],
)
def test_what_hemai_uses_is_trusted(name):
    assert is_trusted(name)


@pytest.mark.parametrize(
    "name",
    [
        "albumentations.core.serialization.from_dict",  # no transform
        "albumentations.core.serialization.Path",
        "albumentations.core.composition.random.os.system",
        "albumentations.np.load",
        "albumentations",
        "albumentations.Resize.__init__",
        "albumentations..Resize",
        "albumentations.no_such_name",
        "albumentationsx.Resize",
        "pytorch_lightning.callbacks.model_checkpoint.shutil.rmtree",
        "pytorch_lightning.loggers.csv_logs.os",
        "pytorch_lightning.trainer.call._call_and_handle_interrupt",
        "hemai.utils.files.write_text",
        "hemai.__main__.app",
        "hemai.data.datamodule.os.system",
        "os.system",
        "builtins.eval",
        "${oc.env:HOME}",
        "",
        None,
        ["os.system"],
    ],
)
def test_other_code_is_not(name):
    assert not is_trusted(name)


def test_of_a_package_that_declares_itself_its_own_classes_and_functions_are_trusted(package):
    assert is_trusted("own_smears.Smears") and is_trusted("own_smears.tiny_net")
    for name in ("own_smears.os.system", "own_smears.read_pickle", "own_smears.timm.create_model", "own_smears.os"):
        assert not is_trusted(name)


def test_without_its_entry_point_a_package_is_refused(package, tmp_path):
    (tmp_path / "site" / "own_smears-1.0.dist-info" / "entry_points.txt").write_text("")
    assert not is_trusted("own_smears.Smears")
    assert package not in sys.modules


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_"])
def test_the_special_keys_of_hydra_are_refused(key):
    with pytest.raises(UserError, match=rf"transform\.0\.{key}"):
        check_names({"transform": [{"_target_": "albumentations.Resize", key: []}]}, "a run")


def test_a_target_that_is_no_text_is_refused():
    with pytest.raises(UserError, match="_target_"):
        check_names({"transform": {"_target_": {"_target_": "albumentations.Resize"}}}, "a run")


def test_settings_that_name_other_settings_are_allowed_in_overrides():
    check_overrides(["model.image_size=${data.size}", "trainer.precision='${best_precision:${.accelerator}}'"], "a run")


@pytest.mark.parametrize("name", ["hf-hub:someone/tiny", "local-dir:/etc"])
def test_models_of_the_hub_and_of_folders_are_named_by_settings_alone(name):
    check_names({"model": {"backbone": name, "weights": name}}, "settings")  # for the start of the user's own run
    for tree in ({"backbone": name}, {"backbone": [name]}, {"hparams": {"model": {"backbone": name}}}):
        with pytest.raises(UserError, match="makes timm read files and is refused"):
            check_names(tree, "checkpoint")
