"""Search spaces: what they hold, and what is refused before anything trains."""

from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")

from hemai.training.search_space import read_space  # noqa: E402
from hemai.utils.errors import UserError  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "space.yaml"


def space(tmp_path, text):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return read_space(file)


def test_the_example_is_a_space_of_the_default_network():
    read_space(EXAMPLE).check([])


def test_every_value_that_is_drawn_lies_in_its_range_or_list(tmp_path):
    found = space(
        tmp_path,
        "model.optimizer.lr: {low: 1e-5, high: 1e-2, log: true}\n"
        "model.image_size: {low: 32, high: 64, step: 16}\n"
        "model.class_weights: [null, balanced]\n"
        "model.freeze_statistics: [true, false]\n",
    )
    found.check([])
    study, drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), []
    for _ in range(40):
        drawn.append(dict(each.split("=") for each in found.draw(study.ask())))
    rates = [float(each["model.optimizer.lr"]) for each in drawn]
    assert 1e-5 <= min(rates) < 1e-4 and 1e-3 < max(rates) <= 1e-2  # evenly in the logarithm
    assert {each["model.image_size"] for each in drawn} == {"32", "48", "64"}
    assert {each["model.class_weights"] for each in drawn} == {"null", "balanced"}
    assert {each["model.freeze_statistics"] for each in drawn} == {"true", "false"}


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "holds no space"),
        ("model: [", "cannot read"),
        ("- model", "holds no space"),
        ("transform: flips", "found flips, expected a list of values"),
        ("transform: []", "expected a list of values"),
        ("model: {optimizer: {lr: [1e-3]}}", "write keys in one line"),
        ("model.optimizer.lr: {low: 1e-5, hihg: 1, high: 1}", "unknown hihg; did you mean 'high'"),
        ("model.optimizer.lr: {low: small, high: 1}", "low=small: expected a number"),
        ("model.optimizer.lr: {low: 1, high: 0.1}", "expected low below high"),
        ("model.optimizer.lr: {low: 0.0, high: 1.0, log: true}", "low > 0"),
        ("model.optimizer.lr: {low: 0.1, high: 1.0, log: 1}", "log=1: expected true or false"),
        ("model.optimizer.betas: [[0.9, 0.99]]", "write a list as text"),
        ("transform: [flips, flips]", "occurs twice"),
        ("modle.optimizer.lr: [0.1]", "cannot be searched; did you mean 'model.optimizer.lr'"),
        ("model.optimizer.rl: [0.1]", "unknown key 'model.optimizer.rl'"),
        ("data.split: [group, kfold]", "data.split cannot be searched"),
        ("trainer.max_epochs: [1, 2]", "trainer.max_epochs cannot be searched"),
        ("model.seed: [1, 2]", "model.seed cannot be searched"),
        ("transform: [flips, flop]", "transform=flop: no such choice; did you mean 'flips'"),
        ("model.label_smoothing: [0.1, high]", "model.label_smoothing=high: expected a number"),
    ],
)
def test_a_wrong_space_is_refused_with_its_reason(tmp_path, text, told):
    with pytest.raises(UserError) as refused:
        space(tmp_path, text).check([])
    assert told in str(refused.value) and str(tmp_path / "space.yaml") in str(refused.value)


def test_a_setting_is_either_shared_or_searched(tmp_path):
    with pytest.raises(UserError, match="transform=flips: .* searches transform; remove it here or there"):
        space(tmp_path, "transform: [plain, flips]").check(["transform=flips"])
