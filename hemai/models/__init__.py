"""Networks that timm lacks; importing this package registers them with timm."""

from hemai.models.custom_cnn import CustomCNN

__all__ = ["CustomCNN"]
