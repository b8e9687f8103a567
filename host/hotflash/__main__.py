"""``python -m hotflash``."""

from hotflash.cli.main import main

main()
