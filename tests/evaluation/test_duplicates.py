import cv2
import numpy as np
import pandas as pd

from hemai.evaluation.duplicates import find_duplicates


def test_copies_are_told_from_near_copies_and_from_others():
    rng = np.random.default_rng(0)
    fields = [cv2.GaussianBlur(rng.integers(0, 256, (80, 80, 3)).astype(np.uint8), (0, 0), 3) for _ in range(4)]
    lighter = np.clip(fields[0].astype(int) + 2, 0, 255).astype(np.uint8)
    compressed = cv2.imdecode(cv2.imencode(".jpg", fields[1])[1], cv2.IMREAD_COLOR)
    images = np.stack([*fields, lighter, compressed, fields[2]])
    table = pd.DataFrame(
        {
            "path": list("abcdefg"),
            "content": list("0123452"),
            "label": ["x", "x", "y", "y", "x", "y", "y"],
            "split": ["train", "train", "train", "test", "test", "train", "train"],
        }
    )
    pairs = find_duplicates(images, table).sort_values("first", ignore_index=True)
    assert pairs[["kind", "first", "second"]].to_numpy().tolist() == [
        ["near", "a", "e"],
        ["near", "b", "f"],
        ["exact", "c", "g"],
    ]
    assert pairs["difference"][0] == 2
    assert pairs["splits_differ"].tolist() == [True, False, False]
    assert pairs["classes_differ"].tolist() == [False, True, False]


def test_the_identical_files_of_the_data_sets_are_found(real_data):
    """40 pairs in the Iranian set, all Pro; 5 in fold_1 of C-NMC, all of patient H10."""
    from hemai.runs.build import build_data
    from hemai.settings.compose import compose

    for name, root, exact in (("iranian", "iranian", 40), ("cnmc", "cnmc", 5)):
        data = build_data(compose([f"data={name}", f"data.root={real_data / root}", "model.image_size=64"]))
        data.setup()
        pairs = find_duplicates(data.cache.images[data.table["row"].to_numpy()], data.table)
        assert (pairs["kind"] == "exact").sum() == exact
        assert not pairs["classes_differ"].any()
