"""Data sets, splits, cache and loaders."""

from hemai.data.cnmc import CNMC
from hemai.data.datamodule import CellDataModule
from hemai.data.dataset import CellDataset
from hemai.data.folder import FolderDataset
from hemai.data.iranian import Iranian
from hemai.data.synthetic import Synthetic

__all__ = ["CNMC", "CellDataModule", "CellDataset", "FolderDataset", "Iranian", "Synthetic"]
