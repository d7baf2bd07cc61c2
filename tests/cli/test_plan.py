import pytest
from typer.testing import CliRunner

from hemai.cli import app
from hemai.evaluation.planning import patients_needed
from hemai.runs.saved_run import load_run


def plan(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def test_the_table_is_that_of_the_run(small_run):
    done = plan(small_run[0], "--half-width", 0.1)
    assert done.exit_code == 0, done.output
    table = patients_needed(load_run(small_run[0]).predictions("test"), 0.1)
    assert "95 % interval of +-0.1" in done.stdout
    for row in table.to_dict("records"):
        line = next(line for line in done.stdout.splitlines() if line.split()[:1] == [row["metric"]])
        assert line.split()[-1] == f"{row['patients_needed']:,}"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["{run}", "--half-width", "0"], "--half-width 0: expected a number above 0"),
        (["{run}", "--half-width", "nan"], "--half-width nan: expected a number above 0"),
        (["{run}/nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_planned_is_told(small_run, arguments, message):
    done = plan(*(argument.format(run=small_run[0]) for argument in arguments))
    assert done.exit_code == 2, done.output
    assert message in done.stderr
