"""Start a program that dies with its parent: python -I leash.py PARENT_PID SIGNAL PROGRAM [ARGUMENT…].

A process of its own rather than a preexec_fn, which would run Python between fork and exec of a process full of
threads. The death signal survives exec (prctl(2)). Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, make sure that the parent still lives, become the program."""
    parent, number, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):  # it died before we asked
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  the daemon's own command line, no shell


if __name__ == "__main__":
    main()
