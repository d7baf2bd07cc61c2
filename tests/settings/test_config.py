import random

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import CONFIGS, compose
from hemai.settings.overrides import quote, unquote
from hemai.transforms import ImagePipeline
from hemai.utils.errors import UserError

ROOT = "data.root=/images"


def choices(group):
    return sorted(file.stem for file in (CONFIGS / group).glob("[!_]*.yaml"))


def path_of(config, key="data.root"):
    value = OmegaConf.to_container(config, resolve=True)
    for name in key.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize(
    "name",
    [
        "Blood cell Cancer [ALL]",
        "a(1), b=c",
        "it's",
        "'quoted'",
        'the "best"',
        "both ' and \"",
        "Données été",
        "細胞",
        "$HOME",
        "a$",
        "${seed}",
        "back\\slash",
        "ends\\",
        "ends\\\\",
        "\\'",
        "\\${seed}",
        "{a: 1}",
        "a#b;c&d|e*?!~%@+",
        "tab\there",
        "null",
        " spaces ",
    ],
)
@pytest.mark.parametrize("key", ["data.root", "run_dir"])
def test_a_path_arrives_as_the_shell_gave_it(key, name):
    assert path_of(compose([f"{key}=/a b/{name}/c{name}"]), key) == f"/a b/{name}/c{name}"


def test_any_path_and_pattern_arrives_as_the_shell_gave_it():
    parts = [*" []()',=\"é$\\{}#&;%@!+*?:^|<>-_aZ0\t", "${", "\\'", '\\"', "${a}", "\\\\", "\\${"]
    rng = random.Random(0)
    for _ in range(25):
        names = ["".join(rng.choices(parts, k=rng.randint(1, 12))) for _ in range(4)]
        given = {"data.root": f"/{names[0]}", "data.csv": f"/{names[1]}", "run_dir": f"/{names[2]}"}
        given["data.pattern"] = f"({names[3]})"
        quoted = [quote(f"{key}={value}") for key, value in given.items()]
        assert [quote(override) for override in quoted] == quoted
        assert [quote(unquote(override)) for override in quoted] == quoted
        config = compose(["data=folder", *quoted])
        assert {key: path_of(config, key) for key in given} == given


def test_a_relative_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_of(compose(["data.root=my cells (2)"])) == str(tmp_path / "my cells (2)")
    assert path_of(compose(["data.split=mine.CSV"]), "data.split") == str(tmp_path / "mine.CSV")


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/my user")
    assert path_of(compose(["data.root=~/cells"])) == "/home/my user/cells"


@pytest.mark.parametrize("key", ["model.backbone", "model.weights"])
def test_a_model_of_a_folder_is_a_path_and_one_of_the_hub_is_not(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_of(compose([f"{key}=local-dir:my (model)"]), key) == f"local-dir:{tmp_path}/my (model)"
    assert path_of(compose([f"{key}=hf-hub:someone/tiny@main"]), key) == "hf-hub:someone/tiny@main"


def test_a_pattern_is_not_taken_for_a_path():
    config = compose(["data=folder", ROOT, r"data.pattern=P(?P<group>\d+)_[^/]*$"])
    assert path_of(config, "data.pattern") == r"P(?P<group>\d+)_[^/]*$"


@pytest.mark.parametrize(
    "override", ["data=cnmc", "seed=3", "data.split=kfold", "data.root=null", "~data.root", "seed"]
)
def test_other_overrides_stay_as_they_are(override):
    assert quote(override) == override


def test_an_empty_path_is_refused():
    with pytest.raises(UserError, match=r"data.root"):  # an unset $VARIABLE; not the current folder
        compose(["data=cnmc", "data.root="])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=cmnc", ROOT], "data=cmnc: no such choice; did you mean 'cnmc'"),
        (["model=custmcnn"], "did you mean 'custom_cnn'"),
        (["transform=flip"], "did you mean 'flips'"),
        (["trainer=gpus"], "did you mean 'gpu'"),
        (["dat=cnmc"], "unknown key 'dat'; did you mean 'data'"),
        (["traner.max_epochs=3"], "unknown key 'traner.max_epochs'; did you mean 'trainer.max_epochs'"),
        (["data.rot=/images"], "unknown key 'data.rot'; did you mean 'data.root'"),
        (["data=cnmc", ROOT, "data.spilt=fold"], "unknown key 'data.spilt'; did you mean 'data.split'"),
        (["data=folder", ROOT, "data.patern=P"], "did you mean 'data.pattern'"),  # a key of this choice alone
        (["model.optimizer.lrr=1"], "did you mean 'model.optimizer.lr'"),
        (["sed=1"], "unknown key 'sed'; did you mean 'seed'"),
        (["experiment=nothing_like_it"], "experiment=nothing_like_it: no such choice"),
    ],
)
def test_a_wrong_name_gets_the_nearest_right_one(overrides, message):
    with pytest.raises(UserError, match=message):
        compose(overrides)


@pytest.mark.parametrize(
    "override",
    ["published=0.88", "published={accuracy: 0.88}", "published={accuracy: 88.38, source: report}", "published={}"],
)
def test_a_published_figure_is_a_share_with_a_source(override):
    with pytest.raises(UserError, match="published"):
        compose([override])
    assert compose(["published={accuracy: 0.88, source: report}"]).published.accuracy == 0.88


@pytest.mark.parametrize("data", ["cnmc", "iranian", "folder"])
def test_a_missing_root_is_asked_for(data):
    with pytest.raises(UserError, match=r"data\.root has no value; set it on the command line: data\.root="):
        compose([f"data={data}"])


@pytest.mark.parametrize("override", ["seed", "data=[cnmc", "seed=${nothing}", "seed=???", "model=null", "seed=1,2"])
def test_an_override_that_cannot_be_used_is_refused(override):
    with pytest.raises(UserError):
        compose([override])


@pytest.mark.parametrize("trainer", ["default", "cpu", "gpu", "ddp", "debug"])
def test_every_trainer_composes(trainer):
    assert compose([f"trainer={trainer}"]).trainer.precision in ("32-true", "bf16-mixed")


def test_no_trainer_is_forgotten_here():
    assert choices("trainer") == ["cpu", "ddp", "debug", "default", "gpu"]


@pytest.mark.parametrize("data", choices("data"))
def test_every_data_set_composes(data):
    config = compose([f"data={data}", ROOT, "seed=5"])
    assert config.data.seed == 5
    assert config.data.split == "group"
    assert path_of(config) == "/images"


@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("transform", choices("transform"))
def test_every_model_and_transform_compose_and_share_the_image_size(model, transform):
    backbone = ["model.backbone=resnet18"] if model == "timm" else []
    config = compose([f"model={model}", f"transform={transform}", "model.image_size=96", *backbone])
    recipe = instantiate(config.transform)
    assert isinstance(recipe, ImagePipeline)
    assert '"height": 96' in str(recipe.prepare_spec).replace("'", '"')
    assert not OmegaConf.missing_keys(config.model)


@pytest.mark.parametrize(
    "arguments",
    [
        ["trainer.devices=2"],
        ["trainer=ddp"],
        ["trainer=default,ddp"],
        ["trainer.devices=1,2"],
        ["trainer.devices=choice(1,2)"],
        ["trainer.devices=[0,1]"],
        ["seed=1,2", "trainer.devices=-1"],
        ["trainer.devices=auto"],
    ],
)
@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_a_sweep_on_several_devices_is_refused(flag, arguments):
    with pytest.raises(UserError, match=r"--multirun with trainer.devices=.*sweep of its own"):
        parse_arguments([flag, *arguments])


def test_a_sweep_on_one_device_is_allowed():
    assert parse_arguments(["seed=1,2", "-m"]) == ["-m", "seed=1,2"]
    assert parse_arguments(["-m", "trainer.devices=[0]"]) == ["-m", "trainer.devices=[0]"]


def test_a_typo_in_any_value_of_a_sweep_is_found_before_the_first_run():
    with pytest.raises(UserError, match="transform=flip: no such choice; did you mean 'flips'"):
        parse_arguments(["-m", "transform=plain,flip"])


def test_several_devices_without_a_sweep_are_allowed():
    assert parse_arguments(["trainer.devices=2"]) == ["trainer.devices=2"]


def test_checked_arguments_quote_paths_for_hydra():
    assert parse_arguments(["data.root=/Blood cell Cancer [ALL]"]) == ["data.root='/Blood cell Cancer [ALL]'"]


def test_a_published_figure_changes_nothing_of_what_is_resumed(tmp_path):
    arguments = ["experiment=report_custom_cnn", quote(ROOT)]
    config = compose(arguments)
    for published in (config.published, None, {"accuracy": 0.5, "source": "another edition"}):
        config.published = published
        for folder in (".hydra", "checkpoints"):
            (tmp_path / folder).mkdir(exist_ok=True)
        OmegaConf.save(config, tmp_path / ".hydra" / "config.yaml", resolve=True)
        OmegaConf.save(OmegaConf.create(arguments), tmp_path / ".hydra" / "overrides.yaml")
        (tmp_path / "checkpoints" / "last.ckpt").touch()
        assert parse_arguments([f"resume={tmp_path}"])[:2] == arguments
    old = OmegaConf.to_container(config, resolve=True)
    del old["published"]  # a run from before there was such a key
    OmegaConf.save(OmegaConf.create(old), tmp_path / ".hydra" / "config.yaml")
    assert parse_arguments([f"resume={tmp_path}", "trainer.max_epochs=120"])[-1] == "trainer.max_epochs=120"


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path, flags):
    with pytest.raises(UserError, match=r"not a run folder|one by one"):
        parse_arguments([*flags, f"resume={tmp_path}"])


def test_a_run_from_before_a_setting_was_there_is_resumed_at_its_default(tmp_path):
    arguments = ["transform=segmented", "model.test_time_augmentation=true"]
    old = OmegaConf.to_container(compose(arguments), resolve=True)
    del old["transform"]["prepare"]["first"]
    del old["data"]["val_share"]
    for folder in (".hydra", "checkpoints"):
        (tmp_path / folder).mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    OmegaConf.save(OmegaConf.create(arguments), tmp_path / ".hydra" / "overrides.yaml")
    OmegaConf.save(OmegaConf.create(old), tmp_path / ".hydra" / "config.yaml")
    assert parse_arguments([f"resume={tmp_path}"])[:2] == arguments
    with pytest.raises(UserError, match=r"data.val_share=0.3 contradicts the run, which has 0.15"):
        parse_arguments([f"resume={tmp_path}", "data.val_share=0.3"])


@pytest.mark.parametrize("override", ["model=_shared", "data=_shared", "transform=_segment"])
def test_a_part_of_other_configs_is_refused_as_a_choice(override):
    with pytest.raises(UserError, match=rf"{override}: a part of other configs, not a choice \(expected \w+, "):
        compose([override])
