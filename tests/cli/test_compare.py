import pytest
from omegaconf import OmegaConf

import train as script
from hemai.settings.arguments import parse_arguments
from hemai.settings.compose import compose
from tests.finished_runs import RESULT, compare, compared, run_writer


@pytest.fixture
def runs(tmp_path):
    return run_writer(tmp_path)


def test_a_run_of_train_py_is_told_as_it_was(tmp_path):
    run = tmp_path / "run"
    settings = [
        "data.patients=9",
        "data.cells=60",
        "model.image_size=48",
        "transform=flips",
        "trainer.max_epochs=1",
        "report=false",
    ]
    arguments = parse_arguments([*settings, "seed=3", "data.split=image", f"run_dir={run}"])
    result = script.train(compose(arguments), arguments)
    table, printed = compared(run, out=tmp_path / "out")
    row = table.loc["run"]
    told = ["data", "split", "model", "transform", "start", "seed", "epochs", "note"]
    assert row[told].tolist() == ["synthetic", "image", "custom_cnn", "flips", "random", 3, 1, "groups shared"]
    assert row["other_settings"] == "data.patients=9, data.cells=60, model.image_size=48"
    assert row["parameters"] == result["parameters"]
    assert [row["test_images"], row["test_groups"]] == [result["test/images"], result["test/groups"]]
    low = result["test/accuracy/low"]
    assert row["accuracy_low"] == ("" if low is None else pytest.approx(low))
    for name in ("accuracy", "balanced_accuracy", "recall", "specificity", "auroc"):
        assert row[name] == pytest.approx(result[f"test/{name}"])
        assert f"{result[f'test/{name}']:.4f}" in printed


def test_the_published_figure_of_an_experiment_stands_beside_ours(runs, tmp_path):
    cnmc = ["experiment=report_custom_cnn", f"data.root={tmp_path}"]
    folders = [runs("as_published", *cnmc, accuracy=0.9), runs("honest", *cnmc, "data.split=group"), runs("own")]
    table, printed = compared(*folders, out=tmp_path / "out")
    assert table.loc["as_published", ["data", "split", "transform"]].tolist() == ["cnmc", "image", "plain"]
    assert table["accuracy"].tolist() == [0.9, 0.8, 0.8]
    assert table["published_accuracy"].tolist() == ["0.8838", "0.8838", ""]  # 1414 of 1600
    assert "published 0.8838: HEMAI report" in printed
    plain = compare(folders[-1]).stdout
    assert "published" not in plain


def test_runs_that_differ_only_in_seed_get_mean_and_range(runs, tmp_path):
    for seed, accuracy, images in ((0, 0.80, 100), (1, 0.86, 102), (2, 0.92, 104)):
        runs(f"b-{seed}", f"seed={seed}", accuracy=accuracy, images=images, groups=4 + seed)
    runs("b-0-again", "seed=0", accuracy=0.80, images=100, groups=4)
    runs("b-3", "seed=3", result=None)
    runs("a", "seed=1", "model.optimizer.lr=0.01", accuracy=0.5)
    runs("c", "seed=2", "data.split=image", accuracy=0.5, groups_shared=24)
    table, _ = compared(tmp_path / "runs", out=tmp_path / "out")
    together = ["b-0", "b-0-again", "b-1", "b-2", "b-3", "mean of 3 seeds", "lowest of 3 seeds", "highest of 3 seeds"]
    assert table.index.tolist() == ["a", *together, "c"]
    assert table.loc[together[-3:], "accuracy"].astype(float).tolist() == pytest.approx([0.86, 0.80, 0.92])
    assert table.loc[together[-3:], "test_images"].astype(float).tolist() == [102, 100, 104]
    assert table.loc[together[-3:], "seed"].tolist() == [""] * 3
    assert table.loc["mean of 3 seeds", ["model", "split"]].tolist() == ["custom_cnn", "group"]
    assert table.loc["mean of 3 seeds", "note"] == "fewer than 5 test groups"  # seed 0 has four


def test_a_run_from_before_a_setting_is_alike_to_one_where_it_is_null(runs, tmp_path):
    old = runs("0", "seed=0") / ".hydra" / "config.yaml"
    runs("1", "seed=1")
    config = OmegaConf.load(old)
    del config["published"], config["patience"]
    OmegaConf.save(config, old)
    table, _ = compared(tmp_path / "runs", out=tmp_path / "out")
    assert table.index.tolist() == ["0", "1", "mean of 2 seeds", "lowest of 2 seeds", "highest of 2 seeds"]


def test_a_figure_that_a_seed_lacks_has_no_mean(runs, tmp_path):
    runs("0", "seed=0", recall=None)
    runs("1", "seed=1", recall=0.5)
    table, printed = compared(tmp_path / "runs", out=tmp_path / "out")
    assert table["recall"].tolist() == ["", "0.5", "", "", ""]
    assert "0.5000" in printed


def test_doubtful_runs_are_marked(runs, tmp_path):
    folders = [
        runs("leaky", "data.split=image", groups_shared=14, groups=24),
        runs("few", "seed=1", groups=4),
        runs("both", "data.split=image", "transform=augmented", groups_shared=1, groups=1),
        runs("sound", "seed=3", "transform=flips", groups=5),
    ]
    table, printed = compared(*folders, out=tmp_path / "out")
    few = "fewer than 5 test groups"
    assert table["note"].tolist() == ["groups shared", few, f"groups shared; {few}", ""]
    assert "*14" in printed and "†4" in printed and "†1" in printed and "*1 " in printed
    assert "†24" not in printed and "†5" not in printed
    assert "* groups occur in more than one split: these metrics do not estimate performance on new patients" in printed
    assert "† fewer than 5 test groups" in printed
    assert "occur in more than one" not in compare(folders[1]).stdout
    assert "fewer than 5" not in compare(folders[3]).stdout


def test_an_unfinished_run_is_listed_without_figures(runs, tmp_path):
    runs("done", accuracy=0.8)
    runs("going", "transform=flips", result=None)
    table, printed = compared(tmp_path / "runs", out=tmp_path / "out")
    assert table.loc["going", ["note", "transform", "accuracy", "test_groups"]].tolist() == [
        "unfinished",
        "flips",
        "",
        "",
    ]
    assert "going (unfinished)" in printed and "resume=RUN_FOLDER" in printed


def test_settings_tell_where_a_run_started_and_how_it_was_split(runs, tmp_path):
    cnmc = ["data=cnmc", f"data.root={tmp_path}"]
    cells = ["data=folder", f"data.root={tmp_path}", "data.name=smears"]
    folders = [
        runs("1", *cnmc, "data.split=kfold", "data.fold=2", f"model.weights={tmp_path}/a b/HEMAI.pth"),
        runs("2", *cnmc, "data.split=fold", "model.backbone=resnet18", "model.options=null", "model.pretrained=true"),
        runs("3", *cells, f"data.split={tmp_path}/mine.csv"),
    ]
    table, _ = compared(*folders, out=tmp_path / "out")
    assert table["start"].tolist() == ["HEMAI.pth", "pretrained", "random"]
    assert table["split"].tolist() == ["fold 2 of 5", "fold 0", "mine.csv"]
    assert table["data"].tolist() == ["cnmc", "cnmc", "smears"]
    assert table["model"].tolist() == ["custom_cnn", "resnet18", "custom_cnn"]


def test_a_run_of_configs_that_are_gone_is_still_told(runs, tmp_path):
    run = runs("old", accuracy=0.8)
    OmegaConf.save(OmegaConf.create(["data=gone", "transform=also_gone"]), run / ".hydra" / "overrides.yaml")
    config = OmegaConf.load(run / ".hydra" / "config.yaml")
    del config["published"]  # as in runs from before there was such a key
    OmegaConf.save(config, run / ".hydra" / "config.yaml")
    table, _ = compared(run, out=tmp_path / "out")
    assert table.loc["old", ["data", "transform"]].tolist() == ["gone", "also_gone"]


def test_what_all_runs_share_stands_above_the_table(runs):
    folders = [runs("a/1", "seed=0"), runs("b/2", "seed=0", "transform=flips")]
    lines = compare(*folders).stdout.splitlines()
    shared = "data=synthetic, split=group, model=custom_cnn, start=random, seed=0, epochs=25, parameters=255,230"
    assert lines[0] == f"all runs: {shared}, test images=1,600"
    assert [line.split()[:2] for line in lines if line.startswith((" a/", " b/"))] == [
        ["a/1", "plain"],
        ["b/2", "flips"],
    ]


def test_a_run_without_test_images_is_told_as_such(runs, tmp_path):
    untested = {name: value for name, value in RESULT.items() if not name.startswith("test/")}
    table, printed = compared(runs("tested"), runs("all", result=untested), out=tmp_path / "out")
    assert table["note"].to_dict() == {"tested": "", "all": "not tested"}
    assert table.loc["all", "accuracy"] == ""
    assert "not tested: the test set is empty" in printed
    assert "†" not in printed
