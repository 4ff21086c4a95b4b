"""A leash for server processes of tests: when whoever holds it dies, by whatever death, they die too.

A helper process reads pids from a pipe. The pipe ends when the holder does, kill -9 included; the helper
then kills what is still registered. So no test run leaves daemons behind.
"""

import os
import signal
import subprocess
import sys


class Leash:
    """Holds processes. Thread-safe as far as one line per write is atomic (pipe(7), PIPE_BUF)."""

    def __init__(self) -> None:
        command = [sys.executable, "-S", "-E", __file__]
        self._helper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        assert self._helper.stdin is not None
        self._pipe = self._helper.stdin.fileno()

    def hold(self, pid: int) -> None:
        """Have the process killed when this one ends."""
        os.write(self._pipe, b"%d\n" % pid)

    def release(self, pid: int) -> None:
        """Forget a process: it has ended, and its number may be given to somebody else."""
        os.write(self._pipe, b"-%d\n" % pid)

    def close(self) -> None:
        """Kill what is still held, and wait until it is done."""
        assert self._helper.stdin is not None
        self._helper.stdin.close()
        self._helper.wait()


def _kill_what_is_left() -> None:
    held: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        held.add(number) if number > 0 else held.discard(-number)
    for pid in held:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    _kill_what_is_left()
