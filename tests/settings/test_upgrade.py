"""Names of earlier versions, in a user's own configs and in run folders."""

import pytest
from omegaconf import OmegaConf

from hemai.settings.instantiate import build
from hemai.settings.trust import is_trusted
from hemai.settings.upgrade import RENAMED_CLASSES, upgrade_hparams, upgrade_names
from hemai.transforms import ImagePipeline


@pytest.mark.parametrize("name", RENAMED_CLASSES)
def test_a_class_that_moved_is_known_by_its_earlier_name(name):
    assert is_trusted(name)
    assert not is_trusted(f"{name}.more")


def test_a_config_with_an_earlier_name_builds_the_class_of_today():
    config = OmegaConf.create({"_target_": "hemai.transforms.Recipe", "prepare": []})
    assert isinstance(build(config), ImagePipeline)


def test_names_are_replaced_anywhere_and_nothing_else_is():
    tree = {"a": [{"_target_": "hemai.transforms.Recipe"}, 1, None], "b": "hemai.transforms.Recipes"}
    assert upgrade_names(tree) == {
        "a": [{"_target_": "hemai.transforms.ImagePipeline"}, 1, None],
        "b": "hemai.transforms.Recipes",
    }


def test_hyperparameters_of_earlier_checkpoints_have_their_present_names():
    assert upgrade_hparams({"facts": {"data": "cnmc"}, "seed": 1}) == {"metadata": {"data": "cnmc"}, "seed": 1}
    assert upgrade_hparams({"metadata": {"data": "cnmc"}}) == {"metadata": {"data": "cnmc"}}
