"""A process with a presence: it announces itself, prints its owner name, and waits for the end of its input.

python -m tests.unit.transfer.presence_worker <folder>
"""

import sys
from pathlib import Path

from cephstorage.transfer.presence import Presence

if __name__ == "__main__":
    presence = Presence(Path(sys.argv[1]))
    presence.announce()
    presence.socket(presence.owner).touch()
    print(presence.owner, flush=True)
    sys.stdin.read()
    presence.socket(presence.owner).unlink()
    presence.withdraw()
