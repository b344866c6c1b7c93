"""Makes `python -m scaffold` the same as `scaffold`."""

from scaffold.cli import main

main()
