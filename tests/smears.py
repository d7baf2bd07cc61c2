"""Drawn smears, for tests of segmentation."""

import itertools

import cv2
import numpy as np

SMEAR, RED_CELL, NUCLEUS = (245, 245, 250), (205, 190, 215), (120, 70, 190)


def draw_smear(height=224, width=224, nuclei=((60, 60, 20), (150, 160, 25)), background=SMEAR):
    """Red cells, and nuclei given as (x, y, radius), with noise."""
    image = np.full((height, width, 3), background, np.uint8)
    for x, y in itertools.product(range(20, width, 60), range(25, height, 60)):
        cv2.circle(image, (x, y), 12, RED_CELL if background == SMEAR else background, -1)
    for x, y, radius in nuclei:
        cv2.circle(image, (x, y), radius, NUCLEUS, -1)
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def discs(shape, nuclei):
    mask = np.zeros(shape, np.uint8)
    for x, y, radius in nuclei:
        cv2.circle(mask, (x, y), radius, 1, -1)
    return mask


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())
