"""A small run, and files of its cells, for the tests of the page."""

import cv2
import numpy as np
import pytest

from hemai.app.answers import Answerer
from hemai.app.uploads import Upload
from hemai.runs.ensemble import find_saved_runs
from hemai.runs.saved_run import load_run


@pytest.fixture(scope="session")
def run_folder(small_run):
    return small_run[0]


@pytest.fixture(scope="session")
def answerer(run_folder):
    return Answerer(find_saved_runs([run_folder]))


@pytest.fixture(scope="session")
def cells(run_folder):
    """Files of drawn cells that the run tested."""
    run = load_run(run_folder)
    paths = run.splits().query("split == 'test'")["path"]
    return [run.data().dataset.root / path for path in paths]


@pytest.fixture(scope="session")
def smear(cells):
    """A png of six cells, three in a row."""
    size = 160
    images = [cv2.resize(cv2.imread(str(file)), (size, size)) for file in cells[:6]]
    return cv2.imencode(".png", np.vstack([np.hstack(images[:3]), np.hstack(images[3:])]))[1].tobytes()


@pytest.fixture(scope="session")
def upload():
    """An upload with the content of a file."""

    def read(file):
        return Upload(file.name, file.read_bytes())

    return read
