import numpy as np
import pandas as pd
import pytest

from hemai.data.leakage import count_leakage, merge_duplicate_groups
from hemai.data.splits import FRACTIONS, split_hash, split_table
from hemai.utils.errors import UserError

COLUMNS = ["path", "label", "group", "fold"]


def make_table(*groups):
    """(group, label, images[, fold]) of every group."""
    rows = [
        (f"{g}/{label}{i}", label, g, fold)
        for g, label, n, *rest in groups
        for fold in (rest or [""])
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def random_table(seed, mixed=False):
    """3 to 12 groups a class, 1 to 40 images a group; mixed: a third of the groups holds another class as well."""
    rng = np.random.default_rng(seed)
    groups = []
    for label in "abcd"[: rng.integers(2, 5)]:
        for i in range(rng.integers(3, 13)):
            groups.append((f"{label}{i}", label, rng.integers(1, 41)))
            if mixed and rng.random() < 1 / 3:
                groups.append((f"{label}{i}", rng.choice(list("ab")), rng.integers(1, 41)))
    table = make_table(*groups)
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


def divided(table, split):
    return int((split.groupby(table["group"]).nunique() > 1).sum())


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("rule", ["group", "kfold"])
def test_groups_are_never_divided(rule, mixed):
    for seed in range(25):
        table = random_table(seed, mixed)
        split = split_table(table, rule, seed=seed, fold=seed % 3, folds=3)
        assert divided(table, split) == 0
        assert set(split) == {"train", "val", "test"}


@pytest.mark.parametrize("mixed", [False, True])
def test_a_class_of_three_groups_or_more_is_in_every_split(mixed):
    for seed in range(25):
        table = random_table(seed, mixed)
        split = split_table(table, seed=seed)
        for label, groups in table.groupby("label")["group"].nunique().items():
            if groups >= 3:
                assert set(split[table["label"] == label]) == {"train", "val", "test"}, (seed, label)


@pytest.mark.parametrize("seed", range(10))
def test_shares_of_cnmc_come_near_70_15_15(cnmc_table, seed):
    split = split_table(cnmc_table, seed=seed)
    shares = split.value_counts(normalize=True)
    for name, share in FRACTIONS.items():
        assert shares[name] == pytest.approx(share, abs=0.01)
    of_class = split.groupby(cnmc_table["label"]).value_counts(normalize=True)
    for label in ("all", "hem"):
        for name, share in FRACTIONS.items():
            assert of_class[label, name] == pytest.approx(share, abs=0.03)


def test_ten_seeds_split_cnmc_in_ten_ways(cnmc_table):
    assert len({split_hash(cnmc_table, split_table(cnmc_table, seed=seed)) for seed in range(10)}) == 10


def test_a_seed_splits_the_same_way_whatever_the_order_of_rows(cnmc_table):
    shuffled = cnmc_table.sample(frac=1, random_state=0)
    assert split_table(shuffled, seed=3).sort_index().equals(split_table(cnmc_table, seed=3))


def test_split_hash_follows_the_images_and_not_their_order():
    table = make_table(("p", "a", 3), ("q", "b", 2))
    split = pd.Series(["train", "train", "train", "val", "test"])
    order = [4, 2, 0, 1, 3]
    assert split_hash(table.iloc[order], split.iloc[order]) == split_hash(table, split)
    assert split_hash(table, split.iloc[::-1]) != split_hash(table, split)


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_kfold_tests_every_cnmc_image_once_and_divides_no_patient(cnmc_table, folds):
    tests = []
    for fold in range(folds):
        split = split_table(cnmc_table, "kfold", seed=1, fold=fold, folds=folds)
        assert divided(cnmc_table, split) == 0
        assert set(split) == set(FRACTIONS)
        tests += split.index[split == "test"].tolist()
    assert sorted(tests) == cnmc_table.index.tolist()


def test_kfold_has_as_many_test_sets_as_folds_though_a_class_has_fewer_groups():
    table = make_table(*((f"{label}{i}", label, 4) for label in "ab" for i in range(3)))
    tests = [split_table(table, "kfold", fold=fold, folds=5) == "test" for fold in range(5)]
    assert all(test.any() for test in tests)
    assert sum(tests).eq(1).all()


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_an_official_fold_is_the_test_set(cnmc_table, fold):
    split = split_table(cnmc_table, "fold", fold=fold)
    assert ((split == "test") == (cnmc_table["fold"] == f"fold_{fold}")).all()
    assert divided(cnmc_table, split) == 0
    rest = split[split != "test"]
    assert (rest == "train").mean() == pytest.approx(0.70 / 0.85, abs=0.02)


def test_the_image_rule_deals_exact_shares_within_each_class():
    table = make_table(("p", "a", 20), ("q", "b", 10))  # 15 % of 20 is 3; of 10 it is 1.5, rounded to even
    split = split_table(table, "image")
    assert split.groupby(table["label"]).value_counts().to_dict() == {
        ("a", "train"): 14, ("a", "val"): 3, ("a", "test"): 3,
        ("b", "train"): 6, ("b", "val"): 2, ("b", "test"): 2,
    }  # fmt: skip


def test_the_image_rule_comes_within_one_image_of_the_test_set_of_the_report(cnmc_table):
    assert (split_table(cnmc_table, "image") == "test").sum() == 1599  # 1091 + 508; the report: 1600


def test_external_images_are_a_test_set_of_their_own():
    table = make_table(*((f"{label}{i}", label, 4) for label in "ab" for i in range(4)), ("x", "a", 5, "preliminary"))
    for rule in ("group", "kfold", "image"):
        split = split_table(table, rule, external=["preliminary"])
        assert ((split == "preliminary") == (table["group"] == "x")).all()
    with pytest.raises(UserError, match="no training images: all belong to preliminary"):
        split_table(table[table["group"] == "x"], external=["preliminary"])


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ([("p", "a", 9), ("q", "b", 9)], {}, "2 groups for 3 splits"),
        ([(g, g[0], 9) for g in ("a1", "a2", "b1", "b2")], {}, "val"),  # 4 groups, but no class can give to val
        ([("p", "a", 3), ("q", "b", 3)], {"rule": "image"}, "val|test"),  # 15 % of 3 is none
        ([(g, g, 9, "fold_1") for g in "abc"], {"rule": "fold"}, "only fold_1 is on disk"),
        ([(g, g, 9) for g in "abc"], {"rule": "fold"}, "some images have no fold"),
        ([(g, g, 9, f"fold_{g}") for g in "abc"], {"rule": "fold", "fold": 3}, "data.fold=3: expected 0 to 2"),
        ([(g, g, 9) for g in "abcde"], {"rule": "kfold", "folds": 1}, "data.folds=1"),
        ([(g, g, 9) for g in "abcde"], {"rule": "kfold", "folds": 6}, "at most the 5 groups"),
        ([(g, g, 9) for g in "abcde"], {"rule": "kfold", "fold": -1, "folds": 3}, "data.fold=-1"),
        ([(g, g, 9) for g in "abc"], {"rule": "groups"}, "did you mean 'group'"),
    ],
    ids=["groups", "no-val", "images", "one-fold", "no-folds", "fold", "folds-1", "folds-6", "fold-minus", "rule"],
)
def test_an_impossible_split_is_refused(groups, options, message):
    with pytest.raises(UserError, match=message):
        split_table(make_table(*groups), **options)


def test_a_share_of_0_makes_no_such_split(cnmc_table):
    everything = {"train": 1.0, "val": 0.0, "test": 0.0}
    assert set(split_table(cnmc_table, shares=everything)) == {"train"}
    no_val = {"train": 0.8, "val": 0.0, "test": 0.2}
    for rule in ("group", "image"):
        split = split_table(cnmc_table, rule, shares=no_val)
        assert (split == "test").mean() == pytest.approx(0.2, abs=0.02)
        assert set(split) == {"train", "test"}


@pytest.mark.parametrize("rule", ["kfold", "fold"])
def test_folds_without_validation_train_on_all_others(cnmc_table, rule):
    shares = {"train": 1.0, "val": 0.0, "test": 0.0}  # the test share means nothing here
    tested = [split_table(cnmc_table, rule, fold=fold, folds=3, shares=shares) for fold in range(3)]
    assert all(set(split) == {"train", "test"} for split in tested)
    assert sum((split == "test").astype(int) for split in tested).eq(1).all()


def test_leakage_is_counted():
    table = make_table(("A", "a", 2), ("B", "a", 2), ("C", "b", 1), ("D", "b", 3))
    split = pd.Series(["train", "test", "train", "train", "val", "test", "val", "test"])
    content = np.array(["1", "2", "3", "3", "3", "4", "5", "6"])  # 3: two in train, one in val
    leakage = count_leakage(table, split, content)
    assert (leakage.groups, leakage.images, leakage.duplicates) == (("A", "D"), 5, 3)
    assert count_leakage(table, split).duplicates == 0


def test_groups_with_identical_files_are_joined():
    table = pd.DataFrame({"group": ["d", "c", "b", "a", "e", "f", "e"]})
    content = np.array(["1", "1", "2", "2", "3", "4", "1"])  # d, c and e share file 1; b and a file 2
    assert merge_duplicate_groups(table, content).tolist() == ["c", "c", "a", "a", "c", "f", "c"]


def test_groups_are_joined_through_chains_of_identical_files():
    table = pd.DataFrame({"group": ["c", "d", "b", "c", "a", "b"]})
    assert merge_duplicate_groups(table, np.array(["1", "1", "2", "2", "3", "3"])).tolist() == ["a"] * 6


def test_a_group_in_two_pairs_of_identical_files_joins_all_three():
    table = pd.DataFrame({"group": ["a", "c", "c", "b"]})
    assert merge_duplicate_groups(table, np.array(["1", "1", "2", "2"])).tolist() == ["a"] * 4


def test_a_written_split_is_read_back(tmp_path, cnmc_table):
    split = split_table(cnmc_table, seed=5)
    written = cnmc_table[["path", "label", "group"]].assign(split=split).sample(frac=1, random_state=0)
    written.to_csv(tmp_path / "splits.csv", index=False)
    assert split_table(cnmc_table, str(tmp_path / "splits.csv")).equals(split)


SMALL = make_table(("p", "a", 2), ("q", "b", 1), ("r", "b", 1))
RIGHT = {"p/a0": "train", "p/a1": "train", "q/b0": "val", "r/b0": "test"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (RIGHT | {"p/a1": "test"}, "1 groups occur in more than one split: p"),
        (RIGHT | {"r/b0": "tset"}, "unknown split tset; did you mean 'test'"),
        (
            {k: v for k, v in RIGHT.items() if k != "q/b0"} | {"r/b0": "val"},
            "1 images have no row: q/b0; to leave them out",
        ),
        (RIGHT | {"s/b0": "test"}, "1 paths are not in the data set: s/b0"),
        (dict.fromkeys(RIGHT, "test"), "no image in train"),
    ],
)
def test_a_wrong_split_file_is_refused(tmp_path, rows, message):
    pd.DataFrame(rows.items(), columns=["path", "split"]).to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(UserError, match=message):
        split_table(SMALL, str(tmp_path / "mine.csv"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,part\np/a0,train", "no column split; found path, part"),
        ("path,split\np/a0,train\np/a0,val", "1 paths occur twice"),
        ("", "cannot read"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        split_table(SMALL, str(tmp_path / "mine.csv"))


def test_a_file_divides_a_group_only_to_measure_leakage_and_unused_images_do_not_leak(tmp_path):
    rows = RIGHT | {"p/a1": "test", "q/b0": "unused"}
    pd.DataFrame(rows.items(), columns=["path", "split"]).to_csv(tmp_path / "mine.csv", index=False)
    split = split_table(SMALL, str(tmp_path / "mine.csv"), allow_leakage=True)
    assert split.tolist() == ["train", "test", "unused", "test"]
    leakage = count_leakage(SMALL, split, np.array(["same", "other", "same", "same"]))
    assert (leakage.groups, leakage.images, leakage.duplicates) == (("p",), 2, 2)
    unused = split.where(split != "test", "unused")
    assert count_leakage(SMALL, unused).groups == ()


def test_each_group_can_be_a_fold_of_its_own():
    table = make_table(("p", "a", 2), ("q", "a", 2), ("r", "b", 2), ("s", "b", 2))
    folds = [split_table(table, "kfold", fold=fold, folds=2, shares={"train": 1.0}) for fold in range(2)]
    assert all((split == "test").sum() == 4 for split in folds)
    single = [split_table(table, "kfold", fold=fold, folds=4, shares={"train": 1.0}) for fold in range(4)]
    assert {tuple(table["group"][split == "test"].unique()) for split in single} == {("p",), ("q",), ("r",), ("s",)}
