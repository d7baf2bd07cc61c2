"""Image transforms: the segmentation of nuclei, controls, and the pipeline from file to network."""

from hemai.transforms.controls import KeepSilhouette, KeepTexture
from hemai.transforms.pipeline import ImagePipeline
from hemai.transforms.segment import SegmentNucleus
from hemai.transforms.stain import OpticalDensity, StainJitter

__all__ = ["ImagePipeline", "KeepSilhouette", "KeepTexture", "OpticalDensity", "SegmentNucleus", "StainJitter"]
