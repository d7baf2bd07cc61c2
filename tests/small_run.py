"""A training of seconds, for tests."""

import train as script
from hemai.config import compose

SMALL = [
    "data.patients=9",
    "data.cells=150",
    "model.image_size=48",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "save_every_n_steps=1000",
    "report=false",
]


def train(*overrides):
    overrides = [*SMALL, *overrides]
    return script.train(compose(overrides), overrides)
