from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.per_patient import group_metrics, group_table
from hemai.evaluation.prediction_files import read_predictions, read_probabilities
from hemai.evaluation.predictions import Predictions
from hemai.utils.errors import UserError

CLASSES, POSITIVE = ("all", "hem"), ("all",)


@pytest.fixture
def table():
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.5, 0.0]])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    columns = {"path": ["a.png", "b.png", "c.png"], "label": ["all", "hem", "hem"], "group": ["1", "H1", "007"]}
    for kind, values in (("probability", probabilities), ("logit", logits)):
        columns |= {f"{kind}/{label}": values[:, i] for i, label in enumerate(CLASSES)}
    return pd.DataFrame(columns)


def test_a_file_is_read_as_it_was_written(table, tmp_path):
    table.to_csv(tmp_path / "p.csv", index=False)
    predictions = read_predictions(tmp_path / "p.csv", CLASSES, POSITIVE)
    assert predictions.targets.tolist() == [0, 1, 1]
    assert predictions.table["group"].tolist() == ["1", "H1", "007"]  # text, not numbers
    assert predictions.malignant_probability == pytest.approx(table["probability/all"])


@pytest.mark.parametrize(
    "edit, told",
    [
        (lambda t: t.drop(columns="logit/hem"), "no column logit/hem"),
        (lambda t: t.drop(columns="group"), "no column group"),
        (lambda t: t.assign(label=["all", "hem", "ham"]), "unknown class ham; the checkpoint has all, hem"),
        (lambda t: t.assign(**{"probability/all": [0.5, 0.2, 0.6]}), "probabilities of .* do not sum to 1: a.png"),
        (lambda t: t.assign(**{"logit/all": [2.0, 0.0, 5.0]}), "1 images do not match their logits: c.png"),
        (lambda t: t.assign(**{"logit/all": ["2.0", "", "0.5"]}), "missing or non-finite numbers in 1 rows: b.png"),
        (lambda t: t.assign(**{"logit/all": [2.0, np.inf, 0.5]}), "missing or non-finite numbers in 1 rows: b.png"),
        (lambda t: t[:0], "file is empty"),
    ],
)
def test_a_file_that_was_changed_is_refused(table, tmp_path, edit, told):
    edit(table).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(UserError, match=told):
        read_predictions(tmp_path / "p.csv", CLASSES, POSITIVE)


def test_no_file_is_told(tmp_path):
    with pytest.raises(UserError, match="predictions: cannot read"):
        read_predictions(tmp_path / "none.csv", CLASSES, POSITIVE)


def predictions_of(rows):
    """Rows: group, label, probability of being malignant."""
    table = pd.DataFrame([(f"{i}.png", label, group) for i, (group, label, _) in enumerate(rows)])
    table.columns = ["path", "label", "group"]
    probability = np.array([row[2] for row in rows])
    return Predictions(table, np.log(np.stack([probability, 1 - probability], axis=1)), CLASSES, POSITIVE)


ROWS = [
    *[("A", "all", p) for p in (0.9, 0.9, 0.2)],  # both votes: malignant, right
    *[("B", "all", p) for p in (0.45, 0.45, 0.95)],  # majority benign, wrong; mean 0.617, right
    *[("C", "hem", p) for p in (0.1, 0.2)],  # right
    *[("D", "hem", p) for p in (0.8, 0.1)],  # a tie is malignant, wrong; mean 0.45, right
    *[("E", label, 0.7) for label in ("all", "hem")],  # neither malignant nor benign
]


def test_groups_are_counted_by_hand():
    groups = group_table(predictions_of(ROWS)).set_index("group")
    assert groups.index.tolist() == ["B", "D", "E", "A", "C"]  # worst first
    assert groups.loc["E", "label"] == "all+hem"
    assert groups["images"].to_dict() == {"A": 3, "B": 3, "C": 2, "D": 2, "E": 2}
    assert groups.loc["B", "mean_probability"] == pytest.approx(1.85 / 3)
    assert groups["called_malignant"].to_dict() == pytest.approx({"A": 2 / 3, "B": 1 / 3, "C": 0, "D": 0.5, "E": 1})
    assert groups.loc[list("ABCD"), "majority_right"].tolist() == [True, False, True, False]
    assert groups.loc[list("ABCD"), "mean_vote_right"].tolist() == [True] * 4
    assert pd.isna(groups.loc["E", "malignant"])


def test_votes_of_groups_give_sensitivity_and_specificity():
    groups = group_table(predictions_of(ROWS))
    majority = {name: (share.correct, share.total) for name, share in group_metrics(groups, "majority").items()}
    assert majority == {"accuracy": (2, 4), "sensitivity": (1, 2), "specificity": (1, 2)}
    mean = {name: (share.correct, share.total) for name, share in group_metrics(groups, "mean_vote").items()}
    assert mean == {"accuracy": (4, 4), "sensitivity": (2, 2), "specificity": (2, 2)}
    only = group_metrics(group_table(predictions_of(ROWS[:3])), "majority")
    assert np.isnan(only["specificity"].interval.value)


TABLE = pd.DataFrame({"path": ["a.png", "b.png", "c.png"], "label": ["all", "hem", "hem"], "group": ["A", "A", "B"]})


@pytest.mark.parametrize(
    "change, told",
    [
        ({"logits": np.zeros((2, 2))}, r"logits: found float64 \(2, 2\), expected a float array of shape \(3, 2\)"),
        ({"logits": np.zeros((3, 2), int)}, "logits: found int64"),
        ({"logits": [[0.0, 1.0]] * 3}, "logits: found list"),
        ({"logits": np.full((3, 2), np.nan)}, "logits: found NaN"),
        ({"positive": ("al",)}, "positive: unknown class al"),
        ({"positive": "all"}, "positive='all': expected a tuple"),
        ({"classes": ("all", "hemo")}, "table: unknown class hem; did you mean 'hemo'"),
        ({"table": pd.DataFrame({"group": ["A"] * 3})}, "table: found columns group; expected path, label, group"),
        ({"table": pd.DataFrame({"path": []})}, "table: found DataFrame of 0 rows"),
        ({"threshold": 1.5}, "threshold=1.5: expected a number from 0 to 1"),
        ({"threshold": np.array([0.5, 0.5])}, "threshold=.*or one for each image"),
        ({"threshold": "a"}, "threshold=a: expected a number from 0 to 1"),
        ({"table": TABLE.assign(group=["A", None, "B"])}, "table: 1 rows without group"),
        ({"temperature": 0}, "temperature=0: expected a number above 0"),
        ({"abstain_below": 2}, "abstain_below=2: expected a number from 0 to 1"),
        ({"group_kind": "Patient"}, "group_kind='Patient'; did you mean 'patient'"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(change, told):
    with pytest.raises(UserError, match=told):
        replace(Predictions(TABLE, np.zeros((3, 2)), CLASSES, POSITIVE), **change)


def test_predictions_of_unlabelled_images_need_only_paths():
    assert Predictions(pd.DataFrame({"path": ["a.png"]}), np.zeros((1, 2)), CLASSES, POSITIVE).predicted == ["all"]


@pytest.mark.parametrize(
    "content, options, told",
    [
        ("A,blast,0.9\nB,normal,0.1\n", {"positive": "blast"}, r"positive='blast': expected a list"),
        ("A,1,0.9\nB,0,0.1\n", {"positive": 1}, r"positive=1: expected a list, such as positive=\[1\]"),
        ("A,blast,0.9\nB,normal,0.1\n", {"positive": ["Blast"]}, "unknown class Blast; did you mean 'blast'"),
        ("A,blast,0.9\nB,normal,0.1\n", {}, r"--positive NAME, in Python with positive=\[NAME\]"),
        ("A,1,0.9\n,0,0.1\n", {}, "1 rows without group"),
        ("A,1,0.9\nB,,0.1\n", {}, "1 rows without label"),
        ("A,1,0.9\nB,0,0.1\n", {"group_kind": "Patient"}, "group_kind='Patient'; did you mean 'patient'"),
    ],
)
def test_a_file_of_probabilities_that_cannot_be_used_is_told(tmp_path, content, options, told):
    (tmp_path / "p.csv").write_text("group,label,probability\n" + content)
    with pytest.raises(UserError, match=told):
        read_probabilities(tmp_path / "p.csv", **options)


@pytest.mark.parametrize("positive", [(), [1], ["1"]])
@pytest.mark.parametrize("content", ["probability\nA,1,0.9\n", "probability/0,probability/1\nA,1,0.1,0.9\n"])
def test_label_1_is_malignant_beside_0(tmp_path, content, positive):
    (tmp_path / "p.csv").write_text("group,label," + content)
    predictions = read_probabilities(tmp_path / "p.csv", positive)
    assert predictions.positive == ("1",) and predictions.malignant_probability == pytest.approx([0.9])
