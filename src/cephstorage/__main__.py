"""``python -m cephstorage`` is the command line."""

from cephstorage.cli.main import run

if __name__ == "__main__":
    run()
