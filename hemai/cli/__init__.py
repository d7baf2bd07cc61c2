"""The `hemai` command: one file per verb; a verb imports the code that does its work only when called."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from hemai.cli.audit import audit
from hemai.cli.compare import compare
from hemai.cli.crossvalidate import crossvalidate
from hemai.cli.evaluate import evaluate
from hemai.cli.explain import explain
from hemai.cli.export import export
from hemai.cli.leakage import leakage
from hemai.cli.networks import networks
from hemai.cli.plan import plan
from hemai.cli.predict import predict
from hemai.cli.prepare import prepare
from hemai.cli.probe import probe
from hemai.cli.push import push
from hemai.cli.report import report
from hemai.cli.segment import segment
from hemai.cli.serve import serve
from hemai.cli.train import train
from hemai.cli.tune import tune
from hemai.utils.boundary import exit_on_user_error, quieten_pillow, stop_on_signals
from hemai.utils.encoding import use_utf8


class Verbs(TyperGroup):
    """Command group with one error boundary for all verbs."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program, in any locale."""
        with exit_on_user_error():
            use_utf8()
        quieten_pillow()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; errors that the user can fix are printed without a traceback."""
        with exit_on_user_error():
            stop_on_signals()
            return super().invoke(ctx)


app = typer.Typer(
    cls=Verbs,
    help="hemai: classifiers of stained cells. Research software, not a medical device. Training: python train.py",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


for training in (train, probe):  # they take Hydra's own flags
    app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(training)
for verb in (
    prepare,
    evaluate,
    predict,
    explain,
    report,
    compare,
    crossvalidate,
    tune,
    leakage,
    plan,
    audit,
    segment,
    networks,
    export,
    push,
):
    app.command()(verb)
app.command("app")(serve)
