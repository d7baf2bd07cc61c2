"""Training of low-rank adapters, and runs that start from a published model."""

import shutil

import pytest
import timm
import torch
from typer.testing import CliRunner

import train as script
from hemai.cli import app
from hemai.models.lora import LowRank, merge_adapters
from hemai.runs.saved_run import load_run
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from hemai.training.callbacks import LastCheckpoint
from hemai.utils.errors import UserError
from tests import small_run

SMALL = [*small_run.SMALL, "data.cells=60", "data.batch_size=16", "model.schedule=null", "model.optimizer.lr=0.01"]
VIT = ["model=timm", "model.backbone=test_vit"]
LORA = "model.adapter={name: lora, rank: 2}"


def run_training(*arguments):
    arguments = parse_arguments(arguments)
    return script.train(compose(arguments), arguments)


def last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def adapters(state):
    return {name for name in state if name.endswith((".up", ".down"))}


@pytest.fixture
def states(monkeypatch):
    """Weights after each epoch."""
    kept = []
    keep = LastCheckpoint.on_train_epoch_end

    def look(self, trainer, module):
        keep(self, trainer, module)
        kept.append({name: tensor.clone() for name, tensor in module.backbone.state_dict().items()})

    monkeypatch.setattr(LastCheckpoint, "on_train_epoch_end", look)
    return kept


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_the_classifier_is_trained_first_then_the_adapters_and_nothing_else(tmp_path, states):
    freeze = ["model.freeze=backbone", "model.freeze_epochs=2", "trainer.max_epochs=3"]
    result = run_training(*SMALL, *VIT, LORA, *freeze, f"run_dir={tmp_path / 'run'}")
    first, second, third = states
    head = {"head.weight", "head.bias"}
    assert moved(first, second) == head
    assert moved(second, third) - head and moved(second, third) - head <= adapters(third)
    # Blocks of width 64, whose qkv has 3 * 64 outputs; a classifier of 2 classes.
    blocks = len({name for name in third if name.endswith(".up")})
    assert result["parameters_trained"] == blocks * 2 * (64 + 3 * 64) + (64 + 1) * 2
    scales = blocks  # stored, but no parameters
    assert result["parameters"] == sum(tensor.numel() for tensor in third.values()) - scales


def test_a_resumed_training_of_adapters_ends_like_one_that_was_not_stopped(tmp_path):
    settings = [*SMALL, *VIT, LORA, "model.average_weights=0.9", "model.optimizer.opt=adamw"]
    run_training(*settings, "trainer.max_epochs=3", f"run_dir={tmp_path / 'whole'}")
    run_training(*settings, "trainer.max_epochs=2", f"run_dir={tmp_path / 'run'}")
    run_training(f"resume={tmp_path / 'run'}", "trainer.max_epochs=3")
    whole, resumed = (last(tmp_path / name)["state_dict"] for name in ("whole", "run"))
    assert whole.keys() == resumed.keys()
    assert not [name for name in whole if not torch.equal(whole[name], resumed[name])]


def test_a_run_with_adapters_predicts_the_same_once_they_are_merged(tmp_path):
    run_training(*SMALL, *VIT, LORA, "trainer.precision=bf16-mixed", f"run_dir={tmp_path / 'run'}")
    model = load_run(tmp_path / "run").model
    assert any(module.up.abs().max() > 0 for module in model.modules() if isinstance(module, LowRank))
    images = torch.randint(256, (4, 3, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(images)
        merge_adapters(model.backbone)
        torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-6)


def test_the_next_run_starts_from_the_adapted_weights(tmp_path, capsys):
    run_training(*SMALL, *VIT, LORA, f"run_dir={tmp_path / 'run'}")
    weights = f"model.weights={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}"
    run_training(*SMALL, *VIT, weights, f"run_dir={tmp_path / 'next'}")
    assert "including those of the head" in " ".join(capsys.readouterr().out.split())


def test_the_run_names_the_weights_their_licence_and_what_is_trained(tmp_path, capsys):
    timm.models.save_for_hf(timm.create_model("test_vit", img_size=48), tmp_path / "tiny", safe_serialization=True)
    start = [f"model.weights=local-dir:{tmp_path / 'tiny'}", "model.source={licence: MIT, images: smears of A}"]
    run_training(*SMALL, *VIT, LORA, *start, "trainer.max_epochs=1", "report=true", f"run_dir={tmp_path / 'run'}")
    printed = " ".join(capsys.readouterr().out.split())
    for told in ("re-initialised: head", "licence of these weights: MIT", "pretrained on smears of A: metrics of"):
        assert told in printed
    report = (tmp_path / "run" / "report.md").read_text("utf-8")
    assert "Initial weights: licence of these weights: MIT" in report and "were trained (lora, rank 2)" in report


@pytest.fixture
def run_of_folder(tmp_path):
    """A run whose network was named by a folder, which is gone."""
    timm.models.save_for_hf(timm.create_model("test_vit", img_size=48), tmp_path / "tiny", safe_serialization=True)
    backbone = f"model.backbone=local-dir:{tmp_path / 'tiny'}"
    run_training(*SMALL, "model=timm", backbone, "model.pretrained=true", f"run_dir={tmp_path / 'run'}")
    shutil.rmtree(tmp_path / "tiny")
    return tmp_path / "run"


def test_a_run_from_a_folder_is_evaluated_and_resumed_without_it(run_of_folder, tmp_path):
    done = CliRunner().invoke(app, ["evaluate", str(run_of_folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    result = run_training(f"resume={run_of_folder}", "trainer.max_epochs=3")
    assert result["epochs"] == 3


@pytest.mark.parametrize("backbone", ["local-dir:/etc", "hf-hub:someone/tiny"])
def test_a_strangers_checkpoint_that_names_a_folder_or_the_hub_is_refused(run_of_folder, backbone):
    for name in ("best", "last"):
        file = run_of_folder / "checkpoints" / f"{name}.ckpt"
        content = torch.load(file, weights_only=True)
        content["hyper_parameters"]["backbone"] = backbone
        torch.save(content, file)
    told = "makes timm read files and is refused"
    with pytest.raises(UserError, match=told):
        load_run(run_of_folder)
    with pytest.raises(UserError, match=told):
        run_training(f"resume={run_of_folder}", "trainer.max_epochs=3")


def test_a_run_folder_is_named_by_the_last_part_of_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    timm.models.save_for_hf(timm.create_model("test_vit", img_size=48), tmp_path / "tiny", safe_serialization=True)
    run_training(*SMALL, "model=timm", "model.backbone=local-dir:tiny", "trainer.max_epochs=1")
    assert [path.name for path in (tmp_path / "lightning_logs").iterdir()] == ["synthetic-tiny"]
