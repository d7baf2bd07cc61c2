import numpy as np
import pandas as pd
import pytest

from hemai.data import CellDataModule, Synthetic
from hemai.data.permuted import permute_labels
from hemai.reporting.report import report_run
from hemai.runs.saved_run import load_run
from hemai.transforms import ImagePipeline
from tests.finished_runs import compare, run_writer
from tests.small_run import train


def table(groups):
    """Group -> its labels."""
    rows = [(group, label) for group, labels in groups.items() for label in labels]
    return pd.DataFrame(rows, columns=["group", "label"])


def labels_of(found, permuted):
    return permuted.groupby(found["group"]).agg(list)


def test_each_group_gets_the_class_of_one_other_group_for_all_its_images():
    found = table({f"P{i}": ["all" if i < 6 else "hem"] * (3 + i) for i in range(10)})
    drawn = [labels_of(found, permute_labels(found, seed)) for seed in range(20)]
    for labels in drawn:
        assert all(len(set(of_group)) == 1 for of_group in labels)
        assert sum(of_group[0] == "all" for of_group in labels) == 6  # as many groups of a class as before
        assert [len(of_group) for of_group in labels] == [3 + i for i in range(10)]
    assert len({tuple(of_group[0] for of_group in labels) for labels in drawn}) > 10
    assert permute_labels(found, 3).equals(permute_labels(found, 3))


def test_the_permuted_label_does_not_depend_on_the_true_one():
    found = table({f"P{i}": ["all" if i < 6 else "hem"] for i in range(10)})
    kept = [(permute_labels(found, seed) == found["label"]).mean() for seed in range(400)]
    assert np.mean(kept) == pytest.approx(0.6**2 + 0.4**2, abs=0.03)  # by chance


def test_a_group_with_images_of_several_classes_passes_on_all_of_its_labels():
    found = table({"mixed": ["a", "a", "a", "b"], "pure": ["b"] * 8})
    passed = [labels_of(found, permute_labels(found, seed)) for seed in range(20)]
    exchanged = [labels for labels in passed if set(labels["mixed"]) == {"b"}]
    assert 0 < len(exchanged) < 20
    assert all(sorted(labels["pure"]) == ["a"] * 6 + ["b"] * 2 for labels in exchanged)


def test_labels_are_permuted_before_the_split_and_the_run_says_so(tmp_path):
    def data(**options):
        module = CellDataModule(Synthetic(tmp_path, patients=24, cells=120), ImagePipeline([]), **options)
        module.setup()
        return module

    real, control = data(), data(permute_labels=True)
    labels = [module.table.groupby("path", observed=True)["label"].first().astype(str) for module in (real, control)]
    assert 0 < (labels[0] != labels[1]).mean() < 1
    assert control.leakage.groups == ()
    assert control.targets.tolist() == [control.dataset.classes.index(label) for label in control.table["label"]]
    assert control.metadata()["permuted_labels"] and not real.metadata()["permuted_labels"]
    assert any("negative control" in note for note in control.dataset.notes)
    assert not any("negative control" in note for note in real.dataset.notes)


def test_checkpoint_report_and_comparison_warn_of_permuted_labels(tmp_path, capsys):
    train("data.permute_labels=true", f"run_dir={tmp_path / 'control'}")
    assert "WARNING, negative control: labels were permuted" in capsys.readouterr().out
    assert load_run(tmp_path / "control").metadata["permuted_labels"] is True
    report_run(tmp_path / "control")
    report = (tmp_path / "control" / "report.md").read_text()
    assert "NEGATIVE CONTROL" in report.splitlines()[0]
    assert report.index("WARNING") == report.index("WARNING, negative control")  # the first of all warnings
    assert "WARNING, negative control" in (tmp_path / "control" / "model_card.md").read_text()
    real = run_writer(tmp_path)("real")
    assert "negative control: labels were permuted" in compare(tmp_path / "control", real).stdout
    assert "negative control" not in compare(real).stdout
