"""The lock that elects: flock on a file in the state directory.

The kernel lets go of it when its holder dies, however it dies. What it does not do by itself: tell a deleted and
recreated file from the old one (so inodes are compared), or mean anything on most network file systems (so those are
refused). The descriptor is closed in children that execute another program; a child that is only forked would keep it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from neto.errors import StoreError

# Where flock may exclude nobody on another host, or SQLite's shared memory is not shared (names as in mountinfo).
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "beegfs", "gpfs", "gfs2", "ocfs2"}
_NETWORK_FUSE = {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone"}


class LeaderLock:
    """The lock, held. Leaving the context lets it go."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def holds(self) -> bool:
        """Whether the file at the path is still the one that is locked. If not, another process may lead."""
        return _same_file(self._path, self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def try_acquire(path: Path) -> LeaderLock | None:
    """Take the lock; None when another process holds it, or replaced the file this very moment.

    To be asked again and again: a thread that waits in flock(2) can be neither cancelled nor told that the file it
    waits for was replaced. Raises StoreError where the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _same_file(path, descriptor):
            return LeaderLock(path, descriptor)
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def refuse_network(path: Path) -> None:
    """Raise StoreError when `path` is on a file system that other hosts may have mounted too."""
    kind = filesystem(path)
    if kind in _NETWORK | _NETWORK_FUSE:
        raise StoreError(
            f"{path} is on {kind}, a network file system, where locks prove nothing; accepted: a local one"
        )


def filesystem(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system that holds `path`, as the kernel names it; "" when it cannot be told.

    proc(5), mountinfo: the fifth field is the mount point, the one after the lone hyphen the type. The mount that was
    made last wins where two are at the same place.
    """
    target, best, kind = path.resolve(), Path(), ""
    for line in mounts.read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split()[4]))
        if target.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, after.split()[0]
    return kind


def _unescaped(field: str) -> str:
    for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(code, character)
    return field


def _same_file(path: Path, descriptor: int) -> bool:
    held = os.fstat(descriptor)
    try:
        there = path.stat()
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
