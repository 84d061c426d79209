"""python -m seit."""

from seit.cli import main

main()
