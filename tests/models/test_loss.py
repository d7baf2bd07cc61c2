import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from hemai.models.loss import Loss
from hemai.utils.errors import UserError

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
TARGETS = torch.tensor([0, 0, 1])


def focal(**settings):
    return Loss({"name": "focal", **settings})(LOGITS, TARGETS).item()


def test_focal_loss_by_hand():
    probabilities = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1)), 0.5]
    expected = sum((1 - p) ** 2 * -math.log(p) for p in probabilities) / 3
    assert focal() == pytest.approx(expected)
    assert focal(gamma=2.0) == pytest.approx(expected)


@pytest.mark.parametrize("weights", [None, [1.0, 3.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_focal_loss_without_focus_is_cross_entropy(weights, smoothing):
    loss = Loss({"name": "focal", "gamma": 0}, weights, smoothing)
    weight = None if weights is None else torch.tensor(weights)
    expected = cross_entropy(LOGITS, TARGETS, weight, label_smoothing=smoothing)
    torch.testing.assert_close(loss(LOGITS, TARGETS), expected)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 5])
def test_gradients_of_an_image_that_is_sure_are_finite(gamma):
    logits = torch.tensor([[60.0, -60.0], [-60.0, 60.0]], requires_grad=True)
    Loss({"name": "focal", "gamma": gamma})(logits, torch.tensor([0, 0])).backward()
    assert torch.isfinite(logits.grad).all()


def test_weights_of_the_loss_stay_out_of_the_state_dict():
    assert not Loss({"name": "cross_entropy"}, [1.0, 2.0]).state_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "fokal"}, "did you mean 'focal'"),
        ({}, "expected cross_entropy, focal"),
        ({"name": "focal", "gama": 1}, "model.loss.gama.*did you mean 'gamma'"),
        ({"name": "cross_entropy", "gamma": 1}, "expected none"),
        ({"name": "focal", "gamma": -1}, "model.loss.gamma=-1"),
        ({"name": "focal", "gamma": math.nan}, "model.loss.gamma=nan"),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Loss(settings)
