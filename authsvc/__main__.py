"""`python -m authsvc`: the same as the `authsvc` command."""

from authsvc.cli import main

if __name__ == "__main__":
    main()
