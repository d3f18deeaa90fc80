"""``python -m foldmap`` is the command line."""

from foldmap.cli import main

if __name__ == "__main__":
    main()
