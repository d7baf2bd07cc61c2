"""Image transforms: the segmentation of nuclei, and the pipeline from file to network."""

from hemai.transforms.pipeline import ImagePipeline
from hemai.transforms.segment import SegmentNucleus

__all__ = ["ImagePipeline", "SegmentNucleus"]
