"""Every file of configs/ composes and builds what it says; every data set and network trains one step."""

import pytest
import torch
from pytorch_lightning.callbacks import Callback

import train as script
from hemai.runs.build import build_data
from hemai.settings.compose import CONFIGS, compose
from hemai.settings.instantiate import build_group
from hemai.training.loggers import build_loggers
from hemai.training.trainer import build_trainer
from tests import small_run

STEP = ["trainer.max_epochs=1", "trainer.limit_train_batches=1", "data.batch_size=4"]
SMALL = [*small_run.SMALL, "data.cells=45"]
NEEDS_GPU = {"gpu", "ddp"}


def choices(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("[!_]*.yaml"))


def train_one_step(tmp_path, *overrides):
    of_runs = [setting for setting in small_run.SMALL if not setting.startswith("data.")]
    result = script.train(compose([*of_runs, *overrides, *STEP, f"run_dir={tmp_path / 'run'}"]), list(overrides))
    assert result["epochs"] == 1
    assert result["test/images"] > 0


def test_there_are_the_groups_that_readme_names():
    groups = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    assert groups >= {"data", "model", "transform", "trainer", "logger", "callbacks", "experiment"}


@pytest.mark.parametrize("name", choices("data"))
def test_data(tmp_path, name, draw_image):
    settings = {"synthetic": SMALL, "folder": ["data.positive=[blast]"]}.get(name, [])
    names = {
        "cnmc": [
            f"fold_0/{c}/UID_{h}{p}_1_{i}_{c}.bmp"
            for c, h in (("all", ""), ("hem", "H"))
            for p in range(4)
            for i in range(4)
        ],
        "iranian": [
            f"Original/{c}/WBC-{m}{c}-{n:03}.jpg"
            for c, m in (("Benign", ""), ("Early", "Malignant-"), ("Pre", "Malignant-"), ("Pro", "Malignant-"))
            for n in (1, 2, 30, 31, 60, 61)
        ],
        "folder": [f"{c}/{i}.png" for c in ("blast", "normal") for i in range(9)],
    }.get(name, [])
    for path in names:
        draw_image(tmp_path / "images" / path)
    root = [f"data.root={tmp_path / 'images'}"] if names else []
    train_one_step(tmp_path, f"data={name}", *root, *settings)


@pytest.mark.parametrize("name", choices("model"))
def test_model(tmp_path, name):
    backbone = ["model.backbone=resnet10t"] if name == "timm" else []
    of_random_weights = ["model.pretrained=false", "model.weights=null"]  # without the hub
    train_one_step(tmp_path, f"model={name}", *backbone, *of_random_weights, *SMALL)


@pytest.mark.parametrize("backbone", ["resnet18", "convnextv2_atto", "vit_tiny_patch16_224"])
def test_any_network_of_timm(tmp_path, backbone):
    options = ["model.options={img_size:48}"] if backbone.startswith("vit") else []
    train_one_step(tmp_path, "model=timm", f"model.backbone={backbone}", *options, *SMALL)


@pytest.mark.parametrize("name", choices("transform"))
def test_transform(name):
    data = build_data(compose([*SMALL, f"transform={name}"]))
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].shape[1:] == (3, 48, 48)


@pytest.mark.parametrize("name", choices("trainer"))
def test_trainer(name, tmp_path):
    config = compose([f"trainer={name}"]).trainer
    if name in NEEDS_GPU and not torch.cuda.is_available():
        assert config["accelerator"] == "gpu"
        pytest.skip("composed; a Trainer of it needs a GPU")
    assert build_trainer(config, [], [], tmp_path).max_epochs == config.max_epochs


@pytest.mark.parametrize("name", [name for name in choices("logger") if name not in ("wandb", "mlflow")])
def test_logger(name, tmp_path):
    loggers = build_loggers(compose([f"logger={name}"]).logger, tmp_path)
    assert [type(logger).__name__.lower()[:3] for logger in loggers] == {"none": [], "tensorboard": ["sta"]}.get(
        name, [name[:3]]
    )


@pytest.mark.parametrize("name", choices("callbacks"))
def test_callbacks(name):
    built = build_group(compose([f"callbacks={name}"]).callbacks)
    assert all(isinstance(callback, Callback) for callback in built)
    assert len(built) == (name != "none")


@pytest.mark.parametrize("name", choices("experiment"))
def test_experiment(name):
    assert compose([f"experiment={name}", "data.root=somewhere"])["data"]["root"].endswith("somewhere")


@pytest.mark.parametrize("name", choices("experiment"))
def test_an_experiment_tells_what_it_repeats_and_others_nothing(name):
    counts = {  # right of all test images
        "report_custom_cnn": (1414, 1600),
        "report_mobilenetv2": (323, 325),
        "hosseini_mobilenetv2": (325, 325),
        "hosseini_efficientnet_b0": (325, 325),
        "hosseini_nasnet_mobile": (306, 325),
    }
    published = compose([f"experiment={name}", "data.root=somewhere"]).published
    if name.startswith(("honest", "best")):
        assert published is None
    else:
        right, images = counts[name]
        assert published.accuracy == round(right / images, 4)
        assert f"{right} of {images} test images" in published.source


def test_the_recipe_for_cnmc_trains_on_every_patient(tmp_path, draw_image):
    for label, initial in (("all", ""), ("hem", "H")):
        for patient in range(3):
            draw_image(tmp_path / "images" / "fold_1" / label / f"UID_{initial}{patient}_1_1_{label}.bmp")
    small = ["report=false", "plots=false", "logger=none", "model.image_size=48", *STEP]
    overrides = ["experiment=best_cnmc", f"data.root={tmp_path / 'images'}", *small, f"run_dir={tmp_path / 'run'}"]
    result = script.train(compose(overrides), overrides)
    assert (result["train/images"], result["train/groups"]) == (6, 6)
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["hyper_parameters"]["test_time_augmentation"]
