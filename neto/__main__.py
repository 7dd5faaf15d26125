"""`python -m neto` is `neto`."""

from neto.cli.main import main

if __name__ == "__main__":
    main()
