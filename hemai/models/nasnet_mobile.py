"""NASNet-A mobile, which timm lacks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import ConvNormAct, SelectAdaptivePool2d, create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.nasnet import CellStem0, CellStem1, FirstCell, NormalCell, ReductionCell0, ReductionCell1
from torch import nn


class AvgPoolInside(nn.Module):
    """3x3 average pooling with stride 2 and `same` padding, in which padding does not count.

    Differs from timm's `AvgPool2dSame`, which counts the padding as zeros in spite of
    `count_include_pad=False`: TensorFlow and the classic PyTorch port do not, and the public weights
    were trained without.
    """

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Pool (B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2))."""
        # `same` pads an odd side by one pixel at both ends, an even one at its far end, as ceil_mode does.
        height, width = image.shape[-2:]
        return F.avg_pool2d(image, 3, 2, (height % 2, width % 2), ceil_mode=True, count_include_pad=False)


class NASNetMobile(nn.Module):
    """NASNet-A mobile (4 @ 1056), for colour images of any size.

    A stem, then three stacks of four cells (44, 88, 176 filters) with a reduction cell between stacks.
    5,289,978 parameters with 1000 classes. The names in the state dict are those of the classic PyTorch
    port, `pretrainedmodels`, where cells 4, 5, 10 and 11 are missing as well.

    Every cell reads the outputs of the two cells before it. In NASNet-A large the cell after a
    reduction reads, instead of the input of the reduction, the output of one cell earlier.

    Source: B. Zoph et al., Learning transferable architectures for scalable image recognition,
    CVPR 2018, arXiv 1707.07012; wiring and numbers of their code in TF-slim (`nasnet.py`,
    `mobile_imagenet_config`); cells of timm. Differs: no auxiliary head, and the momentum of BatchNorm
    is 0.1, as in the PyTorch port, not 0.0003: with the latter, running statistics still keep 74 % of their
    initial value after 1000 steps of a short training.

    Args:
        num_classes: Number of outputs; 0: no classifier, pooled features.
        in_chans: Number of colour channels.
        drop_rate: Dropout before the classifier; 0.5 in TF-slim.
        global_pool: `avg`, `max`, `avgmax`, `catavgmax`, or (without classes) "" for none.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0, global_pool: str = "avg"
    ) -> None:
        super().__init__()
        self.num_classes, self.in_chans, self.num_features = num_classes, in_chans, 1056
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.1)
        self.conv0 = ConvNormAct(in_chans, 32, 3, stride=2, padding=0, norm_layer=norm, apply_act=False)
        self.cell_stem_0 = CellStem0(32, 11, pad_type="same")
        self.cell_stem_1 = CellStem1(32, 22, pad_type="same")
        left, right = 4 * 11, 4 * 22  # channels of the last two outputs
        self.cells: list[str] = []
        for stack, filters in enumerate((44, 88, 176)):
            if stack:
                reduction = (ReductionCell0, ReductionCell1)[stack - 1]
                self._append(f"reduction_cell_{stack - 1}", reduction(left, filters, right, filters, "same"))
                left, right = right, 4 * filters
            for index in range(4):
                # The first cell of a stack halves the older output with two convolutions of half the filters.
                kind, divisor = (NormalCell, 1) if index else (FirstCell, 2)
                self._append(f"cell_{6 * stack + index}", kind(left, filters // divisor, right, filters, "same"))
                left, right = right, 6 * filters
        for name in ("cell_stem_0", "cell_stem_1", "reduction_cell_0", "reduction_cell_1"):
            self.get_submodule(name).comb_iter_2_left = AvgPoolInside()
        self.act = nn.ReLU(inplace=True)
        self.feature_info = [
            {"num_chs": 32, "reduction": 2, "module": "conv0"},
            {"num_chs": 44, "reduction": 4, "module": "cell_stem_1.conv_1x1.act"},
            {"num_chs": 264, "reduction": 8, "module": "reduction_cell_0.conv_1x1.act"},
            {"num_chs": 528, "reduction": 16, "module": "reduction_cell_1.conv_1x1.act"},
            {"num_chs": 1056, "reduction": 32, "module": "act"},
        ]
        self.global_pool: SelectAdaptivePool2d
        self.last_linear: nn.Module
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, global_pool)

    def _append(self, name: str, cell: nn.Module) -> None:
        self.add_module(name, cell)
        self.cells.append(name)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameter names by depth, for `layer_decay` of timm's optimizers."""
        blocks = [(rf"^{name}\.", (depth,)) for depth, name in enumerate(self.cells)]
        return {"stem": r"^conv0|cell_stem_[01]", "blocks": blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Not supported, as in timm's NASNet-A large."""
        assert not enable, "gradient checkpointing not supported"

    def get_classifier(self) -> nn.Module:
        """Layer from features to class logits."""
        return self.last_linear

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the last layer (0 classes: remove it) and, if given, the pooling."""
        self.num_classes = num_classes
        pool = self.global_pool.pool_type if global_pool is None else global_pool
        self.global_pool, self.last_linear = create_classifier(self.num_features, num_classes, pool_type=pool)
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()

    def forward_features(self, image: torch.Tensor) -> torch.Tensor:
        """Features, (B, 1056, ~height / 32, ~width / 32), of scaled images (B, in_chans, height, width)."""
        stem = self.conv0(image)
        previous = self.cell_stem_0(stem)
        features = self.cell_stem_1(stem, previous)
        for name in self.cells:
            previous, features = features, getattr(self, name)(features, previous)
        return self.act(features)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits, (B, num_classes), or what they are computed from, (B, head_hidden_size)."""
        hidden = self.head_drop(self.global_pool(features))
        return hidden if pre_logits else self.last_linear(hidden)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, (B, num_classes), of scaled images, float (B, in_chans, height, width)."""
        return self.forward_head(self.forward_features(image))


default_cfgs = generate_default_cfgs(
    {
        "nasnet_mobile": {
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "interpolation": "bilinear",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "num_classes": 1000,
            "first_conv": "conv0.conv",
            "classifier": "last_linear",
        }
    }
)


@register_model
def nasnet_mobile(pretrained: bool = False, **options: Any) -> nn.Module:
    """Create a `NASNetMobile`, as `timm.create_model("nasnet_mobile", num_classes=2, drop_rate=0.5)` does.

    Raises:
        ValueError: `pretrained` is true, and no exported run is loaded; timm has no weights of this network.
    """
    if pretrained and not options.get("pretrained_cfg"):
        raise ValueError(
            "timm has no weights of nasnet_mobile; download nasnetamobile-7e03cead.pth of Cadene's "
            "pretrainedmodels and set model.weights=FILE"
        )
    features = {"feature_cls": "hook", "no_rewrite": True}  # cells have two inputs: no plain sequence of modules
    return build_model_with_cfg(NASNetMobile, "nasnet_mobile", pretrained, feature_cfg=features, **options)
