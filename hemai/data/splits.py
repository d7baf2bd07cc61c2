"""Splits that never divide a group, and those that may."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hemai.data.leakage import UNUSED, count_leakage
from hemai.utils.errors import UserError, did_you_mean, shorten
from hemai.utils.files import read_table

FRACTIONS = {"train": 0.70, "val": 0.15, "test": 0.15}
RULES = ("group", "fold", "kfold", "image")
N_SHUFFLES = 10  # shuffles tried; more would match the fractions better, but make the splits of all seeds alike


def split_table(
    table: pd.DataFrame,
    rule: str = "group",
    seed: int = 0,
    fold: int = 0,
    folds: int = 5,
    external: Sequence[str] = (),
    shares: Mapping[str, float] = FRACTIONS,
    allow_leakage: bool = False,
) -> pd.Series:
    """Assign every image to a split.

    Args:
        table: Columns `path, label, group, fold`.
        rule: "group": whole groups, so that each class comes near `shares`. "fold": official fold
            number `fold` is the test set. "kfold": test set `fold` of `folds` grouped folds; all
            folds together test every image once. "image": single images, groups ignored. Or the path
            of a csv file with columns `path, split`; its split "unused" leaves images out.
        seed: Seed of the shuffle.
        fold: Number of the test fold; see `rule`.
        folds: Number of folds; see `rule`.
        external: Values of the column `fold` that are external test sets.
        shares: Fractions of the images for train, val and test; 0: no such split.
        allow_leakage: Whether a csv file may divide groups, in order to measure leakage.

    Returns:
        "train", "val", "test", for a csv file "unused", or one of `external` for each row, with the index of `table`.

    Raises:
        UserError: Unknown rule, too few groups or folds, or a file that divides a group.
    """
    if rule.lower().endswith(".csv"):
        return _split_from_file(table, Path(rule), external, allow_leakage)
    if rule not in RULES:
        raise UserError(f"data.split='{rule}'{did_you_mean(rule, RULES)} (expected {', '.join(RULES)} or a .csv file)")
    split = table["fold"].where(table["fold"].isin(external))
    inside = table[split.isna()]
    if inside.empty:
        raise UserError(f"no training images: all belong to {shorten(external)}; add training images to data.root")
    rng = np.random.default_rng(seed)
    wanted = {name: share for name, share in shares.items() if share}
    if rule == "image":
        split[inside.index] = _assign_images(inside, shares, rng)
        return _complete(split, rule, wanted)
    groups = inside["group"].nunique()
    if groups < len(wanted):
        raise UserError(
            f"{groups} groups for {len(wanted)} splits ({', '.join(wanted)}); add more groups, or split single images "
            "with data.split=image (metrics then do not estimate performance on new patients)"
        )
    if rule == "group":
        split[inside.index] = _assign_groups(inside, wanted, rng)
        return _complete(split, rule, wanted)
    parts = _official_folds(inside) if rule == "fold" else _equal_folds(inside, folds, rng)
    names = sorted(parts.unique())
    if not 0 <= fold < len(names):
        raise UserError(f"data.fold={fold}: expected 0 to {len(names) - 1} ({', '.join(names)})")
    test = parts == names[fold]
    split[parts.index[test]] = "test"
    rest = {name: share for name, share in wanted.items() if name != "test"}
    split[parts.index[~test]] = _assign_groups(inside[~test], rest, rng)
    return _complete(split, rule, wanted)


def _complete(split: pd.Series, rule: str, wanted: Iterable[str]) -> pd.Series:
    if missing := [name for name in wanted if name not in set(split)]:
        raise UserError(f"data.split={rule}: no image is left for {shorten(missing)}; add more groups or images")
    return split


def _assign_groups(table: pd.DataFrame, shares: Mapping[str, float], rng: np.random.Generator) -> pd.Series:
    """Assign whole groups so that each class comes near the fractions of images.

    Where groups hold several classes, the groups of the rarest class are assigned first, so that
    it too reaches every part.
    """
    sizes = table["group"].value_counts()
    groups_of = {label: set(groups) for label, groups in table.groupby("label")["group"]}
    part_of: dict[str, str] = {}
    for label in sorted(
        groups_of, key=lambda label: (len(groups_of[label]) < len(shares), len(groups_of[label]), label)
    ):
        groups = np.array(sorted(groups_of[label] - part_of.keys()), dtype=object)
        if len(groups) == 0:
            continue
        reached = {part_of[group] for group in groups_of[label] & part_of.keys()}
        filled = {part: sum(sizes[g] for g, p in part_of.items() if p == part) for part in shares}
        # Parts that the class has not reached come first, the largest first (train, then test: with two groups a
        # test set is worth more than a validation set), and of equal folds the emptiest.
        equal = len(set(shares.values())) == 1
        first = sorted(shares.keys() - reached, key=lambda part: (-shares[part], filled[part] * equal, part))
        attempts = [_assign_once(rng.permutation(groups), sizes, shares, first) for _ in range(N_SHUFFLES)]
        part_of |= min(attempts, key=lambda attempt: attempt[1])[0]
    return table["group"].map(part_of)


def _assign_once(
    groups: np.ndarray, sizes: pd.Series, shares: Mapping[str, float], first: Sequence[str]
) -> tuple[dict[str, str], float]:
    """Assign groups in the given order: one to each of `first`, then each to the part that lacks most images.

    Returns:
        Group -> part, and the sum of the deviations from the fractions, in images.
    """
    total = sum(shares.values())
    lacking = {part: share / total * sizes[groups].sum() for part, share in shares.items()}
    part_of = {}
    for i, group in enumerate(groups):
        part = first[i] if i < len(first) else max(sorted(shares), key=lambda part: (lacking[part], shares[part]))
        part_of[group] = part
        lacking[part] -= sizes[group]
    return part_of, sum(abs(images) for images in lacking.values())


def count_folds(table: pd.DataFrame, external: Sequence[str] = (), most: int = 5) -> int:
    """Number of folds in each of which every class can be tested: the groups of the rarest class, at most `most`.

    Args:
        table: Columns `label, group, fold`.
        external: Values of the column `fold` that are external test sets, which do not count.
        most: Largest number.
    """
    inside = table[~table["fold"].isin(external)].astype({"label": str, "group": str})
    return min(most, int(inside.groupby("label")["group"].nunique().min()))


def require_folds(table: pd.DataFrame, external: Sequence[str] = ()) -> int:
    """Number of folds as of `count_folds`, two or more.

    Raises:
        UserError: A class has one group.
    """
    if (count := count_folds(table, external)) < 2:
        raise UserError("a class has one patient only, so no fold can train and test it; add patients")
    return count


def _assign_images(table: pd.DataFrame, shares: Mapping[str, float], rng: np.random.Generator) -> pd.Series:
    split = pd.Series("train", index=table.index, dtype=object)
    for _, rows in sorted(table.groupby("label").groups.items()):
        order = rng.permutation(np.asarray(rows))
        test, val = (round(shares[name] * len(order)) for name in ("test", "val"))
        split[order[:test]] = "test"
        split[order[test : test + val]] = "val"
    return split


def _official_folds(table: pd.DataFrame) -> pd.Series:
    if (table["fold"] == "").any():
        raise UserError("data.split=fold: some images have no fold; use data.split=kfold")
    if table["fold"].nunique() < 2:
        raise UserError(
            f"data.split=fold: only {table['fold'].iloc[0]} is on disk, expected two folds or more; "
            "add the others or use data.split=group"
        )
    return table["fold"]


def _equal_folds(table: pd.DataFrame, folds: int, rng: np.random.Generator) -> pd.Series:
    groups = table["group"].nunique()
    if not 2 <= folds <= groups:
        raise UserError(f"data.folds={folds}: expected 2 or more, and at most the {groups} groups")
    width = len(str(folds - 1))
    return _assign_groups(table, {f"fold {i:0{width}}": 1.0 for i in range(folds)}, rng)


def _split_from_file(table: pd.DataFrame, file: Path, external: Sequence[str], allow_leakage: bool) -> pd.Series:
    """Read a split made by hand, or the splits.csv of another run."""
    rows = read_table(file, "data.split", ("path", "split"))
    allowed = [*FRACTIONS, UNUSED, *external]
    if wrong := sorted(set(rows["split"]) - set(allowed)):
        raise UserError(
            f"{file}: unknown split {shorten(wrong)}{did_you_mean(wrong[0], allowed)} (expected {shorten(allowed)})"
        )
    if twice := sorted(set(rows["path"][rows["path"].duplicated()])):
        raise UserError(f"{file}: {len(twice)} paths occur twice: {shorten(twice)}")
    split = table["path"].map(dict(zip(rows["path"], rows["split"], strict=True)))
    if split.isna().any():
        raise UserError(
            f"{file}: {int(split.isna().sum())} images have no row: {shorten(table['path'][split.isna()])}; "
            f"to leave them out, give them the split {UNUSED}; otherwise write each path as it is below data.root"
        )
    if unknown := sorted(set(rows["path"]) - set(table["path"])):
        raise UserError(f"{file}: {len(unknown)} paths are not in the data set: {shorten(unknown)}")
    if "train" not in set(split):
        raise UserError(f"{file}: no image in train; expected train and, for validation and test metrics, val and test")
    if not allow_leakage and (shared := count_leakage(table, split).groups):
        raise UserError(
            f"{file}: {len(shared)} groups occur in more than one split: {shorten(shared)}; "
            "keep each group in one split; to measure leakage, set data.allow_leakage=true"
        )
    return split


def split_hash(table: pd.DataFrame, split: pd.Series) -> str:
    """Fingerprint of a split: the same images in the same splits give the same text."""
    lines = sorted(f"{path},{name}" for path, name in zip(table["path"], split, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
