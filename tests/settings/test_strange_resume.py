"""A run that is resumed is composed again: from a stranger, that runs nothing either."""

import sys

import pytest
import yaml
from omegaconf import OmegaConf

from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose, hydra_metadata
from hemai.settings.overrides import quote
from hemai.utils.errors import UserError
from tests.strange_code import edit, write_strange_code


def write_run(folder, *overrides):
    """What a run that was stopped leaves, as far as its settings go."""
    for name in (".hydra", "checkpoints"):
        (folder / name).mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    overrides = [quote(override) for override in overrides]
    OmegaConf.save(compose(overrides), folder / ".hydra" / "config.yaml", resolve=True)
    for name, content in (("overrides", overrides), ("hydra", hydra_metadata(overrides))):
        (folder / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture
def stranger(tmp_path):
    return write_run(tmp_path / "stranger", "trainer=cpu", "data.cells=60")


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """Is there once a stranger's code ran."""
    monkeypatch.syspath_prepend(tmp_path / "modules")
    yield write_strange_code(tmp_path)
    sys.modules.pop("strange_module", None)


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("transform._target_=strange_module.Recipe", "transform._target_=strange_module.Recipe"),
        ("data.dataset=strange_module.Smears", "data.dataset=strange_module.Smears"),
        ("model.backbone=strange_module.resnet10t", "model.backbone=strange_module.resnet10t"),
        ("+trainer.plugins=[{_target_: strange_module.Recipe}]", "trainer.plugins.0._target_=strange_module.Recipe"),
        ("+transform._partial_=true", "transform._partial_"),
        ("+trainer.profiler={_target_: pytorch_lightning.loggers.logger.os.system}", "os.system"),
        ("+callbacks@trust=time_limit", "its settings set trust="),
        ("hydra.job.chdir=true", "hydra.job.chdir=true sets Hydra itself"),
        ("hydra/job_logging=default", "hydra/job_logging=default sets Hydra itself"),
        ("+hydra.callbacks.x={_target_: strange_module.Recipe}", "sets Hydra itself"),
        ("++hydra.searchpath=[pkg://strange_module]", "hydra"),
        ("monitor=${oc.env:HOME}", "computes its value"),
        ("monitor='${oc.decode:${oc.env:HOME}}'", "computes its value"),
        ("monitor=a${${seed}x:1}", "cannot read|computes its value"),
        ("model.options={a: ${oc.env:HOME}, b: ${seed}}", "computes its value"),
        ("'+trust=true'", "cannot read"),
    ],
)
def test_overrides_of_a_stranger_are_refused_on_resume(stranger, marker, override, name):
    edit(stranger, lambda overrides: [*overrides, override], "overrides")
    with pytest.raises(UserError, match=name.replace("[", r"\[")):
        parse_arguments([f"resume={stranger}"])
    assert not marker.exists()


@pytest.mark.parametrize("override", ["trust=true", "++trust=true", "+trust=true"])
def test_a_run_cannot_trust_itself(stranger, marker, override):
    edit(stranger, lambda overrides: [*overrides, override, "data.dataset=strange_module.Smears"], "overrides")
    with pytest.raises(UserError, match=r"strange_module\.Smears is refused"):
        parse_arguments([f"resume={stranger}"])
    assert not marker.exists()


def test_the_user_can_trust_a_run_and_further_devices_hear_of_it(stranger):
    edit(stranger, lambda overrides: [*overrides, "data.dataset=strange_module.Smears"], "overrides")
    edit(stranger, lambda settings: settings["data"].update(dataset="strange_module.Smears"))
    arguments = parse_arguments([f"resume={stranger}", "--trust"])
    assert "trust=true" in arguments and "--trust" not in arguments
    assert parse_arguments(arguments) == arguments


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hydra: {job: {env_set: {PATH: /strange}}}", "hydra.job.env_set"),
        ("hydra: {job_logging: {handlers: {x: {(): strange_module.Recipe}}}}", "hydra.job_logging.handlers"),
        ("hydra: {callbacks: {x: {_target_: strange_module.Recipe}}}", "hydra.callbacks"),
        ("hydra: {launcher: {_target_: strange_module.Recipe}}", "hydra.launcher._target_"),
        ("transform: {_target_: strange_module.Recipe}", "transform._target_=strange_module.Recipe"),
        ("transform: {_target_: '${published.source}'}\npublished: {source: strange_module.Recipe}", "strange_module"),
        ("transform: {_target_: '${oc.env:HOME}'}", "computes its value"),
        ("trainer: {x: {_target_: '${now:%S}'}}", "computes its value"),
        ("trust: true", "trust=True"),
    ],
)
def test_config_folders_of_a_stranger_are_as_strange_as_the_run(stranger, tmp_path, marker, text, name):
    (tmp_path / "configs" / "experiment").mkdir(parents=True)
    (tmp_path / "configs" / "experiment" / "strange.yaml").write_text(f"# @package _global_\n{text}\n")
    edit(stranger, lambda hydra: hydra["hydra"].update(searchpath=[f"file://{tmp_path / 'configs'}"]), "hydra")
    edit(stranger, lambda overrides: [*overrides, "experiment=strange"], "overrides")
    with pytest.raises(UserError, match=name):
        parse_arguments([f"resume={stranger}"])
    assert not marker.exists()


def test_a_package_on_the_search_path_of_a_stranger_is_not_imported(stranger, marker):
    edit(stranger, lambda hydra: hydra["hydra"].update(searchpath=["pkg://strange_module"]), "hydra")
    with pytest.raises(UserError, match=r"expected folders"):
        parse_arguments([f"resume={stranger}"])
    assert not marker.exists()


def test_a_path_that_looks_like_an_interpolation_is_resumed(tmp_path):
    root = tmp_path / "${seed} it's"
    run = write_run(tmp_path / "run ${seed}", f"data.root={root}")
    overrides = parse_arguments([f"resume={run}"])
    assert compose(overrides).data.root == str(root)


@pytest.mark.parametrize(
    "settings",
    [
        ["logger=mlflow", "logger.mlflow.tracking_uri=http://strange:80"],
        ["+trainer.default_root_dir=/strange"],
        ["+callbacks.x={_target_: pytorch_lightning.callbacks.ModelCheckpoint, dirpath: ../strange}"],
    ],
)
def test_a_run_writes_and_sends_elsewhere_only_if_the_user_types_it_again(tmp_path, settings):
    run = write_run(tmp_path / "run", *settings)
    with pytest.raises(UserError, match="strange(:80)? writes or sends outside the run folder"):
        parse_arguments([f"resume={run}"])
    assert parse_arguments([f"resume={run}", "--trust"])
    if "{" not in settings[-1]:
        assert parse_arguments([f"resume={run}", settings[-1]])


@pytest.mark.parametrize("logger", ["tensorboard", "csv", "wandb", "mlflow", "none", "[tensorboard,mlflow]"])
def test_runs_with_our_loggers_resume_without_a_word(tmp_path, logger):
    assert parse_arguments([f"resume={write_run(tmp_path / 'run', f'logger={logger}')}"])
