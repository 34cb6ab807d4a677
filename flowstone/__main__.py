"""``python -m flowstone``: the same command line as the ``flowstone`` script."""

from flowstone.cli import main

if __name__ == "__main__":
    main()
