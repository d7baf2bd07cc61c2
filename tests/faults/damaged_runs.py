"""Ways in which a run folder can be damaged, for tests of what reads it."""

import json

import numpy as np
import pandas as pd
import torch
import yaml

CONFIG, OVERRIDES, HYDRA = (f".hydra/{name}.yaml" for name in ("config", "overrides", "hydra"))
BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
DEEP = "[" * 400 + "]" * 400


def write(name, content):
    """Replace a file."""

    def damage(run):
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def cut(name, share=0.5):
    """Keep the first part of a file, as a copy that was interrupted does."""

    def damage(run):
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: int(len(content) * share)])

    return damage


def remove(name):
    return lambda run: (run / name).unlink()


def set_in(tree, path, value):
    *above, last = path.split(".")
    for key in above:
        tree = tree[key]
    if value is remove:
        del tree[last]
    else:
        tree[last] = value(tree[last]) if callable(value) else value


def setting(path, value, name=CONFIG):
    """Change a value of a YAML file; `remove` takes it out."""

    def damage(run):
        content = yaml.safe_load((run / name).read_text())
        set_in(content, path, value)
        (run / name).write_text(yaml.safe_dump(content))

    return damage


def override(text):
    """Add an override to those of the run."""

    def damage(run):
        content = yaml.safe_load((run / OVERRIDES).read_text())
        (run / OVERRIDES).write_text(yaml.safe_dump([*content, text]))

    return damage


def checkpoint(path, value, *names):
    """Change a value of the checkpoints; `remove` takes it out."""

    def damage(run):
        for name in names or (BEST, LAST):
            content = torch.load(run / name, weights_only=True)
            set_in(content, path, value)
            torch.save(content, run / name)

    return damage


def tensors(change, *names):
    """Change the tensors of the checkpoints; `change` gets them all, and the name of the first."""

    def damage(run):
        for name in names or (BEST, LAST):
            content = torch.load(run / name, weights_only=True)
            state = content["state_dict"]
            change(state, next(iter(state)))
            torch.save(content, run / name)

    return damage


def save(content, *names):
    """Replace the checkpoints."""
    return lambda run: [torch.save(content, run / name) for name in names or (BEST, LAST)] and None


def table(name, change):
    """Change a csv file."""

    def damage(run):
        content = pd.read_csv(run / name, dtype=str, keep_default_na=False)
        change(content).to_csv(run / name, index=False)

    return damage


def result(path, value):
    """Change a value of result.json."""

    def damage(run):
        content = json.loads((run / "result.json").read_text())
        content[path] = value
        (run / "result.json").write_text(json.dumps(content))

    return damage


def nan(tensor):
    return torch.full_like(tensor, np.nan)


EVERY = ("report", "evaluate", "predict", "resume", "compare")
OF_CHECKPOINT = ("report", "evaluate", "predict", "resume")
OF_BEST = ("report", "evaluate", "predict")
META = "hyper_parameters.metadata"

# Damage -> what it does, and the verbs that must refuse it; the others need not read that file.
DAMAGES = {
    "config empty": (write(CONFIG, ""), EVERY),
    "config list": (write(CONFIG, "[1, 2]"), EVERY),
    "config number": (write(CONFIG, "5"), EVERY),
    "config binary": (write(CONFIG, bytes(range(256))), EVERY),
    "config bomb": (write(CONFIG, BOMB), EVERY),
    "config deep": (write(CONFIG, f"a: {DEEP}"), EVERY),
    "config huge": (write(CONFIG, "a: " + "x" * 2_000_000), EVERY),
    "config cut": (cut(CONFIG), EVERY),
    "config empty mapping": (write(CONFIG, "{}"), EVERY),
    "config other mapping": (write(CONFIG, "a: 1"), EVERY),
    "config keys of numbers": (write(CONFIG, "1: {2: 3}\nnull: 4\n"), EVERY),
    "config data 5": (setting("data", 5), EVERY),
    "config data list": (setting("data", [1]), EVERY),
    "config model null": (setting("model", None), EVERY),
    "config without data": (setting("data", remove), EVERY),
    "config without dataset": (setting("data.dataset", remove), EVERY),
    "config dataset 5": (setting("data.dataset", 5), EVERY),
    "config split 5": (setting("data.split", 5), ("resume", "compare")),
    "config split list": (setting("data.split", [5]), ("resume", "compare")),
    "config root list": (setting("data.root", [5]), ("resume",)),
    "config weights number": (setting("model.weights", 5), ("resume", "compare")),
    "config without seed": (setting("seed", remove), EVERY),
    "config without monitor": (setting("monitor", remove), EVERY),
    "config without batch size": (setting("data.batch_size", remove), EVERY),
    "config without trainer": (setting("trainer", remove), EVERY),
    "config seed text": (setting("seed", "x"), ("resume",)),
    "config published text": (setting("published", "x"), ("compare",)),
    "config logger 5": (setting("logger", 5), ()),
    "config transform 5": (setting("transform", 5), EVERY),
    "overrides empty": (write(OVERRIDES, ""), ("report", "evaluate", "resume", "compare")),
    "overrides mapping": (write(OVERRIDES, "{a: 1}"), ("report", "evaluate", "resume", "compare")),
    "overrides binary": (write(OVERRIDES, bytes(range(256))), ("report", "evaluate", "resume", "compare")),
    "overrides bomb": (write(OVERRIDES, BOMB), ("report", "evaluate", "resume", "compare")),
    "overrides deep": (write(OVERRIDES, f"- {DEEP}"), ("report", "evaluate", "resume", "compare")),
    "overrides numbers": (write(OVERRIDES, "[1, 2]"), ("report", "evaluate", "resume", "compare")),
    "overrides nested": (write(OVERRIDES, "[[a=1], {b: 2}, null]"), ("report", "evaluate", "resume", "compare")),
    "overrides not of Hydra": (override("a b c = ]"), ("report", "evaluate", "resume", "compare")),
    "overrides key alone": (override("seed"), ("report", "evaluate", "resume", "compare")),
    "overrides null byte": (override("seed=\0"), ("resume", "compare")),
    "hydra list": (write(HYDRA, "[1]"), ("report", "evaluate", "resume", "compare")),
    "hydra choices 5": (setting("hydra.runtime.choices", 5, HYDRA), ()),
    "hydra searchpath 5": (setting("hydra.searchpath", 5, HYDRA), ("report", "evaluate", "resume", "compare")),
    "best empty": (write(BEST, ""), OF_CHECKPOINT),
    "best text": (write(BEST, "no checkpoint"), OF_CHECKPOINT),
    "best cut": (cut(BEST), OF_CHECKPOINT),
    "best opcode": (write(BEST, b"\x52"), OF_CHECKPOINT),
    "best missing": (remove(BEST), OF_CHECKPOINT),
    "last missing": (remove(LAST), ("resume",)),
    "last cut": (cut(LAST), ("resume",)),
    "last empty": (write(LAST, ""), ("resume",)),
    "checkpoint list": (save([1]), OF_CHECKPOINT),
    "checkpoint tensor": (save(torch.zeros(3)), OF_CHECKPOINT),
    "checkpoint empty": (save({}), OF_CHECKPOINT),
    "checkpoint without tensors": (checkpoint("state_dict", remove), OF_CHECKPOINT),
    "checkpoint tensors list": (checkpoint("state_dict", [1]), OF_CHECKPOINT),
    "tensor missing": (tensors(lambda state, first: state.pop(first)), OF_CHECKPOINT),
    "tensor added": (tensors(lambda state, first: state.update(other=state[first])), OF_CHECKPOINT),
    "tensor of another shape": (tensors(lambda state, first: state.update({first: torch.zeros(3, 3)})), OF_CHECKPOINT),
    "tensor a number": (tensors(lambda state, first: state.update({first: 5})), OF_CHECKPOINT),
    "tensor of NaN": (tensors(lambda state, first: state.update({first: nan(state[first])})), OF_CHECKPOINT),
    "classes doubled": (checkpoint("hyper_parameters.classes", ["all", "all"]), OF_CHECKPOINT),
    "classes one": (checkpoint("hyper_parameters.classes", ["all"]), OF_CHECKPOINT),
    "classes number": (checkpoint("hyper_parameters.classes", 2), OF_CHECKPOINT),
    "classes numbers": (checkpoint("hyper_parameters.classes", [1, 2]), OF_CHECKPOINT),
    "classes three": (checkpoint("hyper_parameters.classes", ["all", "hem", "c"]), OF_BEST),
    "positive unknown": (checkpoint("hyper_parameters.positive", ["x"]), OF_BEST),
    "positive nested": (checkpoint("hyper_parameters.positive", [["all"]]), OF_CHECKPOINT),
    "backbone number": (checkpoint("hyper_parameters.backbone", 5), OF_CHECKPOINT),
    "backbone unknown": (checkpoint("hyper_parameters.backbone", "no_net"), OF_BEST),
    "options list": (checkpoint("hyper_parameters.options", [1]), OF_BEST),
    "options unknown": (checkpoint("hyper_parameters.options", {"x": 1}), OF_BEST),
    "mean text": (checkpoint("hyper_parameters.mean", "x"), OF_BEST),
    "mean short": (checkpoint("hyper_parameters.mean", [0.5]), OF_BEST),
    "image size negative": (checkpoint("hyper_parameters.image_size", -5), OF_BEST),
    "image size text": (checkpoint("hyper_parameters.image_size", "x"), OF_BEST),
    "optimizer number": (checkpoint("hyper_parameters.optimizer", 5), OF_BEST),
    "plateau text": (checkpoint("hyper_parameters.plateau", "x"), OF_BEST),
    "loss number": (checkpoint("hyper_parameters.loss", 5), OF_BEST),
    "hparam unknown": (checkpoint("hyper_parameters.unknown", 5), OF_BEST),
    "hparams of numbers": (checkpoint("hyper_parameters", {1: 2}), OF_CHECKPOINT),
    "hparams missing": (checkpoint("hyper_parameters", remove), OF_CHECKPOINT),
    "metadata list": (checkpoint(META, [1]), OF_CHECKPOINT),
    "metadata without data": (checkpoint(f"{META}.data", remove), OF_CHECKPOINT),
    "metadata data list": (checkpoint(f"{META}.data", [1]), OF_CHECKPOINT),
    "metadata group kind": (checkpoint(f"{META}.group_kind", 5), OF_CHECKPOINT),
    "metadata split hash other": (checkpoint(f"{META}.split_hash", 5), OF_CHECKPOINT),
    "metadata prepare list": (checkpoint(f"{META}.prepare", [1]), OF_BEST),
    "metadata prepare text": (checkpoint(f"{META}.prepare", "x"), OF_BEST),
    "metadata class counts": (checkpoint(f"{META}.class_counts", "x"), ()),
    "metadata versions": (checkpoint(f"{META}.versions", 5), OF_CHECKPOINT),
    "threshold NaN": (checkpoint(f"{META}.threshold", np.nan, BEST), OF_CHECKPOINT),
    "threshold above 1": (checkpoint(f"{META}.threshold", 2.0, BEST), OF_CHECKPOINT),
    "threshold text": (checkpoint(f"{META}.threshold", "x", BEST), OF_CHECKPOINT),
    "threshold list": (checkpoint(f"{META}.threshold", [0.5], BEST), OF_CHECKPOINT),
    "temperature 0": (checkpoint(f"{META}.temperature", 0.0, BEST), OF_CHECKPOINT),
    "temperature text": (checkpoint(f"{META}.temperature", "x", BEST), OF_CHECKPOINT),
    "abstain below text": (checkpoint(f"{META}.abstain_below", "x", BEST), OF_CHECKPOINT),
    "recalibration text": (checkpoint(f"{META}.recalibration", "x", BEST), OF_CHECKPOINT),
    "threshold images text": (checkpoint(f"{META}.threshold_images", "x", BEST), OF_CHECKPOINT),
    "threshold rule number": (checkpoint(f"{META}.threshold_rule", 5, BEST), OF_CHECKPOINT),
    "epoch text": (checkpoint("epoch", "x"), OF_CHECKPOINT),
    "epoch missing": (checkpoint("epoch", remove), OF_CHECKPOINT),
    "epoch negative": (checkpoint("epoch", -3), OF_CHECKPOINT),
    "loops list": (checkpoint("loops", [1], LAST), ("resume",)),
    "loops empty": (checkpoint("loops", {}, LAST), ("resume",)),
    "loops without loader": (checkpoint("loops.fit_loop.state_dict", {}, LAST), ()),
    "loader position text": (checkpoint("loops.fit_loop.state_dict.combined_loader", ["x"], LAST), ()),
    "callbacks list": (checkpoint("callbacks", [1], LAST), ("resume",)),
    "history text": (checkpoint("callbacks.MetricHistory", "x", LAST), ("resume",)),
    "history rows text": (checkpoint("callbacks.MetricHistory.rows", "x", LAST), ("resume",)),
    "callbacks empty": (checkpoint("callbacks", {}, LAST), ()),
    "optimizer states list": (checkpoint("optimizer_states", [1], LAST), ("resume",)),
    "optimizer states missing": (checkpoint("optimizer_states", remove, LAST), ("resume",)),
    "plateau state text": (checkpoint("plateau", "x", LAST), ()),
    "train figures text": (checkpoint("train_figures", "x", LAST), ("resume",)),
    "train figures short": (checkpoint("train_figures", [torch.zeros(3)], LAST), ("resume",)),
    "hemai format text": (checkpoint("hemai_format", "x"), OF_CHECKPOINT),
    "hemai format of the future": (checkpoint("hemai_format", 99), ()),
    "hemai format 1": (checkpoint("hemai_format", 1), ()),
    "result empty": (write("result.json", ""), ("compare",)),
    "result list": (write("result.json", "[]"), ("compare",)),
    "result binary": (write("result.json", bytes(range(256))), ("compare",)),
    "result deep": (write("result.json", "[" * 9000), ("compare",)),
    "result empty mapping": (write("result.json", "{}"), ("compare",)),
    "result accuracy text": (result("test/accuracy", "x"), ("compare",)),
    "result accuracy nested": (result("test/accuracy", {"a": [1]}), ("compare",)),
    "result groups text": (result("test/groups", "x"), ("compare",)),
    "splits empty": (write("splits.csv", ""), ("report", "evaluate", "resume")),
    "splits binary": (write("splits.csv", bytes(range(256))), ("report", "evaluate", "resume")),
    "splits cut": (cut("splits.csv", 0.501), ("report", "evaluate", "resume")),
    "splits missing": (remove("splits.csv"), ("report", "evaluate", "resume")),
    "splits without split": (table("splits.csv", lambda t: t.drop(columns="split")), ("report", "evaluate", "resume")),
    "splits row short": (cut("splits.csv", 0.999), ("report", "evaluate", "resume")),
    "predictions empty": (write("predictions_test.csv", ""), ("report", "evaluate")),
    "predictions binary": (write("predictions_test.csv", bytes(range(256))), ("report", "evaluate")),
    "predictions cut": (cut("predictions_test.csv"), ("report", "evaluate")),
    "predictions missing": (remove("predictions_test.csv"), ("report", "evaluate")),
    "predictions without rows": (table("predictions_test.csv", lambda t: t[:0]), ("report", "evaluate")),
    "provenance list": (write("provenance.json", "[]"), ()),
    "provenance binary": (write("provenance.json", bytes(range(256))), ()),
    "provenance values": (write("provenance.json", '{"git": 5, "hardware": "x", "data": [1]}'), ()),
    "metrics binary": (write("metrics.csv", bytes(range(256))), ("report",)),
    "metrics empty": (write("metrics.csv", ""), ("report",)),
    "metrics text": (write("metrics.csv", "epoch,step\nx,y\n"), ("report",)),
    "metrics without epoch": (write("metrics.csv", "epoch,train/loss\n,1\n"), ("report",)),
}
