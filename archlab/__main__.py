"""`python -m archlab` is the command line."""

from archlab.cli import main

main()
