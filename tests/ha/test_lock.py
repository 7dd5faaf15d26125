"""The lock file: who gets it, who keeps it, and where it means nothing."""

import os
import subprocess

import pytest

from neto.errors import StoreError
from neto.ha import lock as locks
from neto.ha.lock import filesystem, refuse_network, try_acquire

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:27 / /srv rw shared:5 - nfs4 server:/export rw
31 30 0:28 / /srv/local\040disk rw - xfs /dev/vdb rw
32 22 0:29 / /both rw - ext4 /dev/vdc rw
33 32 0:30 / /both rw shared:9 master:2 - fuse.sshfs host:/ rw
34 22 0:31 / /srv2 rw - tmpfs none rw
""".strip()


def test_only_one_gets_it_until_it_is_let_go(tmp_path):
    path = tmp_path / "leader.lock"
    with try_acquire(path) as held:
        assert held.holds()
        assert try_acquire(path) is None
    with try_acquire(path) as again:
        assert again.holds()


@pytest.mark.parametrize("recreated", [False, True])
def test_who_holds_a_file_that_is_gone_knows_it(tmp_path, recreated):
    path = tmp_path / "leader.lock"
    with try_acquire(path) as held:
        path.unlink()
        if recreated:
            path.touch()
        assert not held.holds()
        with try_acquire(path) as other:
            assert other.holds()


def test_a_lock_on_a_file_that_was_replaced_while_it_was_taken_is_no_lock(tmp_path, monkeypatch):
    path = tmp_path / "leader.lock"
    flock = locks.fcntl.flock

    def slow_flock(descriptor, how):
        flock(descriptor, how)
        path.unlink()
        path.touch()

    monkeypatch.setattr(locks.fcntl, "flock", slow_flock)
    assert try_acquire(path) is None
    monkeypatch.undo()
    with try_acquire(path) as held:
        assert held.holds()


def test_a_child_does_not_keep_it(tmp_path):
    path = tmp_path / "leader.lock"
    with try_acquire(path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with try_acquire(path) as held:
            assert held.holds()
    finally:
        child.kill()
        child.wait()


def test_the_lock_is_no_way_to_write_into_another_file(tmp_path):
    (tmp_path / "leader.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"leader\.lock"):
        try_acquire(tmp_path / "leader.lock")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/neto/lock", "ext4"),
        ("/srv/neto/lock", "nfs4"),
        ("/srv/local disk/lock", "xfs"),
        ("/both/lock", "fuse.sshfs"),
        ("/srv2/lock", "tmpfs"),
        ("/srv3/lock", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount_made_last(tmp_path, path, kind):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert filesystem(locks.Path(path), tmp_path / "mountinfo") == kind


def test_the_real_mounts_are_understood():
    assert filesystem(locks.Path("/proc/self")) == "proc"
    assert filesystem(locks.Path(os.sep)) != ""


@pytest.mark.parametrize(("kind", "refused"), [("nfs", True), ("fuse.sshfs", True), ("ext4", False), ("tmpfs", False)])
def test_network_file_systems_are_refused(tmp_path, monkeypatch, kind, refused):
    monkeypatch.setattr(locks, "filesystem", lambda _: kind)
    if not refused:
        return refuse_network(tmp_path)
    with pytest.raises(StoreError, match=f"{kind}, a network file system"):
        refuse_network(tmp_path)
    return None
