"""`hemai prepare`."""

from __future__ import annotations

from hemai.cli.options import ConfigDir, Overrides, with_config_folders


def prepare(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Check a data set against its publication, count duplicates, split it and build its cache."""
    from hemai.reporting.console import print_counts, print_data, print_duplicates
    from hemai.runs.build import build_data, training_appearance
    from hemai.settings.compose import compose

    data = build_data(compose(with_config_folders(overrides, config_dir)))
    print_counts(data.dataset)
    data.setup()  # after the counts, which explain unexpected files better
    print_duplicates(data)
    print_data(data)
    if len(data.rows.get("train", ())) > 1:
        training_appearance(data)  # kept in the cache too
    print(f"cache: {data.cache.folder} ({data.cache.images.nbytes / 1e6:,.0f} MB)")
