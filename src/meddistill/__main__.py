"""`python -m meddistill` is the `meddistill` command."""

from meddistill.cli import main

main()
