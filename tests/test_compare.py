import json

import pandas as pd
import pytest
from omegaconf import OmegaConf
from typer.testing import CliRunner

import train as script
from hemai.cli import app
from hemai.compare import find_runs
from hemai.config import checked_arguments, compose, quote

RESULT = {
    "test/accuracy": 0.8,
    "test/balanced_accuracy": 0.7,
    "test/recall": 0.9,
    "test/specificity": 0.5,
    "test/auroc": 0.75,
    "test/images": 1600,
    "test/groups": 20,
    "groups_shared": 0,
    "parameters": 255230,
    "epochs": 25,
}


@pytest.fixture
def runs(tmp_path):
    """Write the files of a run: what it was told, and its result if it is finished."""

    def write(name, *overrides, result=RESULT, **changes):
        folder = tmp_path / "runs" / name
        (folder / ".hydra").mkdir(parents=True)
        overrides = [quote(override) for override in (*overrides, f"run_dir={folder}")]
        OmegaConf.save(compose(overrides), folder / ".hydra" / "config.yaml", resolve=True)
        OmegaConf.save(OmegaConf.create(overrides), folder / ".hydra" / "overrides.yaml")
        if result:
            named = {f"test/{key}" if f"test/{key}" in RESULT else key: value for key, value in changes.items()}
            (folder / "result.json").write_text(json.dumps(result | named))
        return folder

    return write


def compare(*arguments, columns=200):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], env={"COLUMNS": str(columns)})


def compared(*arguments, out):
    done = compare(*arguments, "--out", out)
    assert done.exit_code == 0, done.output
    return pd.read_csv(out / "comparison.csv", keep_default_na=False).set_index("run"), done.stdout


def words(text):
    return " ".join(text.split())


def test_a_run_of_train_py_is_told_as_it_was(tmp_path):
    run = tmp_path / "run"
    settings = ["data.patients=9", "data.cells=60", "model.image_size=48", "transform=flips", "trainer.max_epochs=1"]
    arguments = checked_arguments([*settings, "seed=3", "data.split=image", f"run_dir={run}"])
    result = script.train(compose(arguments), arguments)
    table, printed = compared(run, out=tmp_path / "out")
    row = table.loc["run"]
    told = ["data", "split", "model", "transform", "start", "seed", "epochs", "note"]
    assert row[told].tolist() == ["synthetic", "image", "custom_cnn", "flips", "random", 3, 1, "groups shared"]
    assert row["other_settings"] == "data.patients=9, data.cells=60, model.image_size=48"
    assert row["parameters"] == result["parameters"]
    assert [row["test_images"], row["test_groups"]] == [result["test/images"], result["test/groups"]]
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
    assert "* groups stand in more than one split: these figures say nothing of new patients" in printed
    assert "† fewer than 5 test groups" in printed
    assert "stand in more than one" not in compare(folders[1]).stdout
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


@pytest.mark.parametrize("columns", [60, 100, 150, 300])
def test_a_terminal_of_any_width_shows_all_figures(runs, tmp_path, columns):
    cnmc = ["experiment=report_custom_cnn", f"data.root={tmp_path}"]
    runs("cnmc-custom_cnn/2026-01-01_10-00-00", *cnmc, groups_shared=118, groups=118)
    runs("iranian-nasnet_mobile/2026-01-02_10-00-00", "data=iranian", *cnmc[1:], "model=nasnet_mobile", groups=3)
    runs("synthetic-custom_cnn/2026-01-03_10-00-00", "seed=1", "transform=augmented", "model.label_smoothing=0.1")
    printed = compare(tmp_path / "runs", columns=columns).stdout
    table = [line for line in printed.splitlines() if line.startswith(" ")]
    assert max(map(len, table)) <= max(columns, 91)  # a run's number and eight figures need no more
    row = {60: "2", 100: "2", 150: "iranian-nasnet_mobile/2026-01-02_10-00-00"}.get(columns)
    figures = ["†3", "0", "0.8000", "0.7000", "0.9000", "0.5000", "0.7500"]
    assert row is None or [row, *figures] in map(str.split, table)
    assert row != "2" or "\n2 iranian-nasnet_mobile/2026-01-02_10-00-00: data=iranian, split=group" in printed
    for text in ("0.8838", "*118", "nasnet_mobile", "experiment=report_custom_cnn", "model.label_smoothing=0.1"):
        assert text in printed
    assert "…" not in printed


def test_the_same_table_is_written_as_markdown(runs, tmp_path):
    runs("a|b", "transform=flips", groups_shared=14)
    runs("c", result=None)
    _, _ = compared(tmp_path / "runs", out=tmp_path / "out")
    lines = (tmp_path / "out" / "comparison.md").read_text().splitlines()
    assert lines[0].startswith("| run | data | split | model | transform | start |")
    assert "published" not in lines[0]  # nothing to tell
    assert lines[2].startswith(
        "| a\\|b | synthetic | group | custom_cnn | flips | random | 0 | 25 | 255,230 | 1,600 | 20 | 14 |"
    )
    assert lines[2].endswith("| groups shared |")
    columns = {line.replace("\\|", "").count("|") for line in lines[:4]}
    assert len(columns) == 1
    assert "- groups stand in more than one split" in lines[5]


def test_a_folder_above_is_searched_and_each_run_is_listed_once(runs, tmp_path, monkeypatch):
    folders = [runs(name) for name in ("x/2", "x/1", "y/3")]
    (folders[0] / "figures").mkdir()
    monkeypatch.chdir(tmp_path)
    found = find_runs([tmp_path / "runs" / "y", tmp_path / "runs", folders[0]])
    assert found == [folders[2], folders[1], folders[0]]
    assert find_runs([type(tmp_path)("runs/x")]) == [folders[1], folders[0]]


def test_nothing_is_overwritten(runs, tmp_path):
    run, out = runs("a"), tmp_path / "out"
    assert compare(run, "--out", out).exit_code == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    (out / "comparison.csv").unlink()
    done = compare(run, "--out", out)
    assert done.exit_code == 2
    assert words(done.stderr) == f"error: --out: {out}/comparison.md is there; choose another folder"
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {"comparison.md": before["comparison.md"]}
    assert compare(run, "--out", run / "result.json").exit_code == 2


@pytest.mark.parametrize(
    "file, content, told",
    [
        (None, None, "is no run folder (no .hydra/config.yaml in it or below)"),
        ("result.json", "{", "cannot be read as a run of hemai (JSONDecodeError"),
        ("result.json", '{"test/images": 3}', "cannot be read as a run of hemai (KeyError"),
        (".hydra/config.yaml", "a: 1", "cannot be read as a run of hemai (KeyError: 'data')"),
        (".hydra/config.yaml", "a: [", "cannot be read as a run of hemai (ParserError"),
    ],
)
def test_a_folder_that_is_no_run_is_told(runs, tmp_path, file, content, told):
    run = runs("a")
    if file:
        (run / file).write_text(content)
    done = compare(run if file else tmp_path / "elsewhere")
    assert done.exit_code == 2
    assert told in words(done.stderr)


def test_a_place_that_cannot_be_written_is_told(runs, tmp_path):
    (tmp_path / "file").write_text("")
    done = compare(runs("a"), "--out", tmp_path / "file" / "below")
    assert done.exit_code == 2
    assert "--out: cannot write to" in done.stderr
