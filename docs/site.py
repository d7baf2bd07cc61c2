"""Hook of mkdocs: the site also shows pages that lie outside `docs/`, and runs the notebook."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CITATION.cff", "LICENSE")
NOTEBOOK = "first_steps.ipynb"
# Notebooks are run in a folder of their own, since they leave cells and a run folder behind.
scratch = tempfile.TemporaryDirectory()


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, README as the first one, and the notebook with its output."""
    for page in PAGES:
        files.append(File(page, str(ROOT), config.site_dir, config.use_directory_urls))
    notebook = nbformat.read(ROOT / "examples" / NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": scratch.name}}).execute()
    nbformat.write(notebook, Path(scratch.name, NOTEBOOK))
    files.append(File(NOTEBOOK, scratch.name, config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Point links of README at where the site has its pages."""
    return markdown.replace("](docs/", "](").replace("](examples/", "](")
