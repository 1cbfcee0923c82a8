"""``python -m flemme_monai``: the command ``flemme-monai``."""

from .cli import main

if __name__ == "__main__":
    main()
