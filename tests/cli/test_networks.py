import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from hemai.cli import app
from hemai.models import cost as networks
from hemai.models.network import create_network


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """One batch is enough: no speed is asserted."""
    monkeypatch.setattr(networks, "WARM_UP", 0)
    monkeypatch.setattr(networks, "REPETITIONS", 1)
    monkeypatch.setattr(networks, "SECONDS", 0.0)


def run(*arguments, columns=100):
    return CliRunner().invoke(
        app, ["networks", *map(str, arguments), "--batch", "1"], env={"COLUMNS": str(columns), "LINES": "50"}
    )


@pytest.mark.parametrize(
    "name, trainable, with_batchnorm, multiply_adds",
    [
        # Parameters of Keras Applications (without the 7 numbers of EfficientNet's Normalization layer). Multiply-adds
        # in 1e9 as the papers print them, and ours must round to that: Sandler et al. 2018, Table 4; Tan & Le 2019,
        # Table 2; Zoph et al. 2018, Table 3.
        ("mobilenetv2_100", 3_504_872, 3_538_984, "0.30"),
        ("efficientnet_b0", 5_288_548, 5_330_564, "0.39"),
        ("nasnet_mobile", 5_289_978, 5_326_716, "0.564"),
    ],
)
def test_counts_are_those_that_were_published(name, trainable, with_batchnorm, multiply_adds):
    network = create_network(name, 1000, pretrained=False, options={}).eval()
    assert networks.count_parameters(network) == (trainable, with_batchnorm)
    digits = len(multiply_adds) - 2
    assert f"{networks.count_multiply_adds(network, (224, 224)) / 1e9:.{digits}f}" == multiply_adds


def test_layers_are_those_in_the_name_of_a_residual_network_and_its_shortcuts():
    # He et al. 2016, Table 1: four stages; the first block of each needs a convolution in its shortcut, but for
    # the first stage of ResNet-18, whose width stays.
    assert networks.count_layers(create_network("resnet18", 1000, pretrained=False, options={})) == 18 + 3
    assert networks.count_layers(create_network("resnet50", 1000, pretrained=False, options={})) == 50 + 4


def test_layers_of_mobile_networks_are_counted_one_by_one():
    # MobileNetV2: stem, a block of 2, 16 of 3, head, classes. EfficientNet-B0: stem, a block of 4 (2 of them squeeze
    # and excitation), 15 of 5, head, classes.
    counts = {"mobilenetv2_100": 1 + 2 + 16 * 3 + 1 + 1, "efficientnet_b0": 1 + 4 + 15 * 5 + 1 + 1}
    for name, layers in counts.items():
        assert networks.count_layers(create_network(name, 1000, pretrained=False, options={})) == layers


def test_counts_of_the_custom_cnn_are_those_by_hand():
    # (output pixels x filters) x (kernel x channels): 128 -> 126 -> 63 -> 61 -> 30 -> 28 -> 14 -> 12 -> 6
    convolutions = 126**2 * 8 * 27 + 61**2 * 16 * 72 + 28**2 * 32 * 144 + 12**2 * 64 * 288
    linear = 64 * 6 * 6 * 100 + 100 * 2
    network = create_network("custom_cnn", 2, pretrained=False, options={}).eval()
    assert networks.count_multiply_adds(network, (128, 128)) == convolutions + linear == 14_213_288
    assert networks.count_parameters(network) == (255_230, 255_230)
    assert networks.count_layers(network) == 4 + 2


def test_frozen_parameters_are_not_trainable_and_the_counter_of_batchnorm_is_no_statistic():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    network[0].requires_grad_(False)
    # 3 * 4 weights and 4 biases; 4 scales and 4 shifts; 4 means and 4 variances.
    assert networks.count_parameters(network) == (8, 16 + 8 + 8)


def test_a_network_is_measured_as_it_infers(monkeypatch):
    seen = []

    class Probe(nn.Module):
        def forward(self, images):
            last = images.is_contiguous(memory_format=torch.channels_last)
            seen.append((tuple(images.shape), images.dtype, last, torch.is_inference_mode_enabled(), self.training))
            return images

    monkeypatch.setattr(networks, "create_network", lambda *_, **__: Probe())
    networks.measure_networks(["custom_cnn"], size=64, batch=5)
    assert seen[-1] == ((5, 3, 64, 64), torch.float32, True, True, False)


def test_the_speed_is_the_median_after_the_warm_up(monkeypatch):
    clock = iter([0, 9, 10, 12, 20, 23, 30, 34])  # batches of 9 s, which is not counted, then 2, 3 and 4 s
    monkeypatch.setattr(networks, "WARM_UP", 1)
    monkeypatch.setattr(networks, "REPETITIONS", 3)
    monkeypatch.setattr(networks.time, "perf_counter", lambda: next(clock))
    assert networks.measure_speed(nn.Identity(), (2, 2), batch=6) == 6 / 3


def test_the_table_shows_all_configured_networks(tmp_path):
    done = run("--csv", tmp_path / "new" / "networks.csv", "--classes", 2, "--size", 64)
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "new" / "networks.csv", index_col="network")
    assert {"custom_cnn", "nasnet_mobile", "mobilenetv2_100", "efficientnet_b0"} <= set(table.index)
    assert (table["input_px"] == 64).all()
    # 64 -> 62 -> 31 -> 29 -> 14 -> 12 -> 6 -> 4 -> 2: the linear layer sees 2 x 2 pixels, not 6 x 6.
    assert table["trainable"]["custom_cnn"] == 255_230 - 64 * (6 * 6 - 2 * 2) * 100
    assert table["megabytes"]["custom_cnn"] == pytest.approx(4e-6 * 50_430)
    assert "networks with 2 classes" in done.stdout


def test_the_table_of_the_report_fits_100_columns():
    done = run("custom_cnn", "mobilenetv2_100", "efficientnet_b0", "nasnet_mobile", "--size", 64)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines if not line.startswith("- ")) <= 100
    row = next(line for line in lines if "mobilenetv2_100" in line)
    assert row.split()[:6] == ["mobilenetv2_100", "64", "3,504,872", "3,538,984", "14.2", "53"]
    assert "inference on" in done.stdout and "float32, batches of 1" in done.stdout


def test_the_input_is_the_configured_or_the_published_one():
    done = run("custom_cnn", "mobilenetv3_small_100", "test_vit")
    assert done.exit_code == 0, done.output
    sizes = {words[0]: words[1] for words in map(str.split, done.stdout.splitlines()) if len(words) == 8}
    # configs/model/custom_cnn.yaml; Howard et al. 2019; timm/models/vision_transformer.py
    assert sizes == {"custom_cnn": "128", "mobilenetv3_small_100": "224", "test_vit": "160"}


def test_a_network_of_one_size_is_made_for_another():
    # Position embeddings are trainable: 6 x 6 patches of 16 px instead of 14 x 14, of width 192.
    rows = [networks.measure_networks(["vit_tiny_patch16_224"], size=size, batch=1).iloc[0] for size in (None, 96)]
    assert [row["input_px"] for row in rows] == [224, 96]
    assert rows[0]["trainable"] - rows[1]["trainable"] == (14 * 14 - 6 * 6) * 192


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["nasnet_mobil"], "unknown timm model; did you mean 'nasnet_mobile'"),
        (["custom_cnn", "--size", 30], "image_size=30 is too small for custom_cnn; expected 46 or more"),
        (["test_vit", "--size", 5], "test_vit cannot take images of 5 x 5 px"),
        (["custom_cnn", "--csv", __file__], "test_networks.py already exists; choose another name"),
    ],
)
def test_a_mistake_is_told(arguments, told):
    done = run(*arguments)
    assert done.exit_code == 2
    assert told in " ".join(done.stderr.split())


def test_a_file_that_leaves_the_backbone_open_is_no_network(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "any.yaml").write_text("backbone: ???\n")
    (tmp_path / "model" / "one.yaml").write_text("backbone: resnet18\n")
    (tmp_path / "model" / "_shared.yaml").write_text("seed: 0\n")
    monkeypatch.setattr(networks, "CONFIGS", tmp_path)
    assert networks.configured() == ["one"]
