import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import hemai.models  # noqa: F401  registers custom_cnn


class ReportNetwork(nn.Module):
    """The network as the report describes it, written independently of ours."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=3)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=3)
        self.conv3 = nn.Conv2d(16, 32, kernel_size=3)
        self.conv4 = nn.Conv2d(32, 64, kernel_size=3)
        self.fc1 = nn.Linear(64 * 6 * 6, 100)
        self.fc2 = nn.Linear(100, 2)
        self.dropout = nn.Dropout(0.25)

    def forward(self, image):
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            image = F.max_pool2d(F.relu(conv(image)), 2, 2)
        hidden = self.dropout(F.relu(self.fc1(image.reshape(-1, 64 * 6 * 6))))
        return F.log_softmax(self.fc2(hidden), dim=1)


def test_has_the_255230_parameters_of_the_report():
    network = timm.create_model("custom_cnn", num_classes=2)
    assert sum(parameter.numel() for parameter in network.parameters()) == 255_230


def test_state_dicts_go_both_ways_and_give_the_probabilities_of_the_report():
    torch.manual_seed(0)
    report, ours = ReportNetwork().eval(), timm.create_model("custom_cnn", num_classes=2).eval()
    images = torch.randn(3, 3, 128, 128)
    ours.load_state_dict(report.state_dict())
    torch.testing.assert_close(ours(images).log_softmax(dim=1), report(images))
    report.load_state_dict(timm.create_model("custom_cnn", num_classes=2).state_dict())


def test_loss_and_gradients_are_those_of_the_report():
    torch.manual_seed(0)
    report, ours = ReportNetwork().eval(), timm.create_model("custom_cnn", num_classes=2).eval()
    ours.load_state_dict(report.state_dict())
    images, targets = torch.randn(4, 3, 128, 128), torch.tensor([0, 1, 1, 0])
    F.nll_loss(report(images), targets).backward()
    F.cross_entropy(ours(images), targets).backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, report.get_parameter(name).grad)


@pytest.mark.parametrize(("size", "classes"), [(46, 2), (64, 4), (128, 3), (224, 2), (450, 2)])
def test_takes_any_size_and_number_of_classes(size, classes):
    network = timm.create_model("custom_cnn", num_classes=classes, img_size=size)
    assert network(torch.zeros(1, 3, size, size)).shape == (1, classes)


def test_refuses_images_too_small_for_four_poolings():
    with pytest.raises(ValueError, match="46 or more"):
        timm.create_model("custom_cnn", img_size=45)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_drops_the_asked_share_of_hidden_units_in_training_only(rate):
    torch.manual_seed(0)
    network = timm.create_model("custom_cnn", drop_rate=rate)
    nn.init.constant_(network.fc1.weight, 0)
    nn.init.constant_(network.fc1.bias, 1.0)
    nn.init.constant_(network.fc2.weight, 1.0)
    nn.init.constant_(network.fc2.bias, 0)
    kept = network(torch.zeros(400, 3, 128, 128))[:, 0] / 100 * (1 - rate)  # each kept unit is scaled up
    assert kept.mean().item() == pytest.approx(1 - rate, abs=0.02)
    assert network.eval()(torch.zeros(1, 3, 128, 128))[0, 0].item() == pytest.approx(100)


def test_has_no_published_weights():
    with pytest.raises((ValueError, RuntimeError), match="weights"):
        timm.create_model("custom_cnn", pretrained=True)
