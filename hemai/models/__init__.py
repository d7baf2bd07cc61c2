"""Networks that timm lacks; importing this package registers them with timm."""

from hemai.models.custom_cnn import CustomCNN
from hemai.models.nasnet_mobile import NASNetMobile

__all__ = ["CustomCNN", "NASNetMobile"]
