"""The pinned versions, their hashes and the dependencies of hemai agree; actions of CI are pinned too."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import train as script

ROOT = Path(script.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
OF_EXTRAS = [each for extra in EXTRAS.values() for each in extra if not each.startswith("hemai[")]
WANTED = [*PROJECT["project"]["dependencies"], *OF_EXTRAS]


def pins(file):
    found = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
    assert len(found) == len(dict(found))
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("requirement", [*WANTED, *PROJECT["build-system"]["requires"]])
def test_the_pinned_version_is_one_that_hemai_allows(requirement):
    wanted = Requirement(requirement)
    assert wanted.specifier.contains(pins("constraints.txt")[canonicalize_name(wanted.name)], prereleases=True)


def test_the_lock_names_the_versions_of_the_constraints():
    assert pins("requirements.lock") == pins("constraints.txt")


@pytest.mark.parametrize("file", ["requirements.lock", ".ci/fork.lock"])
def test_every_locked_version_has_hashes(file):
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", (ROOT / file).read_text(), flags=re.MULTILINE).strip())
    assert entries
    for entry in entries:
        assert re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry


def test_actions_are_pinned_by_commit():
    uses = re.findall(r"uses: (.+)", (ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action
