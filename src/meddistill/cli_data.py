"""The commands below `meddistill data`."""

from __future__ import annotations

from typing import Annotated

import typer

from meddistill.cli_options import OutOption

data_app = typer.Typer(help="Get or make data sets.", no_args_is_help=True)


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a data set, for example busi.")],
    out: OutOption,
    url: Annotated[str | None, typer.Option(help="Another address of the same archive.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Checksum that the archive must have.")] = None,
) -> None:
    """Download a public data set and unpack it; an interrupted download goes on where it stopped.

    Example: `meddistill data fetch busi -o data/busi`
    """
    from meddistill.data.download import fetch as fetch_data

    print(fetch_data(name, out, url=url, sha256=sha256).summary)


@data_app.command()
def phantom(
    out: OutOption,
    cases: Annotated[int, typer.Option(min=1, help="Number of images.")] = 120,
    size: Annotated[int, typer.Option(min=32, help="Height and width in pixels.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other images.")] = 0,
) -> None:
    """Write generated ultrasound-like images with masks as a class-folder tree.

    Example: `meddistill data phantom -o data/phantom --cases 60`
    """
    from meddistill.data.phantom import PhantomSource, write_phantom

    print(f"phantom: {write_phantom(out, PhantomSource(cases, size=(size, size), seed=seed))}")
