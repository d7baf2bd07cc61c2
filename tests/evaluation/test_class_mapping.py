import numpy as np
import pandas as pd
import pytest

from hemai.evaluation.class_mapping import check_class_names, merge_classes, read_class_names
from hemai.evaluation.predictions import Predictions
from hemai.utils.errors import UserError

IRANIAN, MALIGNANT = ("Benign", "Early", "Pre", "Pro"), ("Early", "Pre", "Pro")


def test_names_are_read_from_the_command_line_or_a_file(tmp_path):
    expected = {"hem": ("Benign",), "all": ("Early", "Pre", "Pro")}
    told = "hem: Benign, all: Early + Pre+Pro"
    assert read_class_names(told) == expected
    (tmp_path / "names.yaml").write_text(told.replace(", ", "\n"))
    assert read_class_names(str(tmp_path / "names.yaml")) == expected


@pytest.mark.parametrize(
    "told, message",
    [
        ("hem=Benign", "expected 'Benign: hem"),
        ("hem: [Benign", "cannot read"),
        ("nowhere.yaml", "cannot read nowhere.yaml"),
        ("hem: Benign, hem: Early, all: Pre", "a name is repeated"),
        ("hem: Benign+Benign, all: Early", "a name is repeated"),
        ("hem: Benign+, all: Early", "missing beside +"),
        ("", "expected 'Benign: hem"),
        ("no: Benign", "the data set has no class no"),
        ("hem: Benign", "class all of the data set is not mapped"),
        ("hem: Benign, al: Early", "the data set has no class al; did you mean 'all'?"),
        ("hem: Benign, all: early", "the checkpoint has no class early; did you mean 'Early'?"),
        ("hem: Benign+Pre, all: Early", "hem joins malignant and benign classes"),
        ("hem: Early, all: Early+Pre", "hem and all share Early, but not all"),
    ],
)
def test_names_that_fit_neither_side_are_told(told, message):
    with pytest.raises(UserError, match=".*") as error:
        check_class_names(read_class_names(told), ("all", "hem"), IRANIAN, MALIGNANT)
    assert message in str(error.value)


def test_probabilities_of_joined_classes_are_summed():
    probabilities = np.array([[0.4, 0.3, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]])
    table = pd.DataFrame({"label": ["Early", "Benign"]})
    predictions = Predictions(table, np.log(probabilities), IRANIAN, MALIGNANT, temperature=2.0)
    merged = merge_classes(predictions, read_class_names("hem: Benign, all: Early+Pre+Pro").values())
    assert merged.classes == ("Benign", "Early+Pre+Pro")
    assert merged.positive == ("Early+Pre+Pro",)
    assert merged.probabilities == pytest.approx(np.array([[0.4, 0.6], [0.7, 0.3]]))
    assert merged.table["label"].tolist() == ["Early+Pre+Pro", "Benign"]
    assert merged.correct.tolist() == [True, True]
    assert predictions.correct.tolist() == [False, True]
    assert merged.temperature is None  # it was fitted to the classes apart
    assert merge_classes(predictions, [("Benign",), ("Early",)]).temperature == 2
