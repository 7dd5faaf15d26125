"""What the service manager hears."""

import socket

from neto.ha import systemd


def test_the_manager_hears_each_state_on_its_own_line(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        systemd.notify(READY="1", STATUS="leads at epoch 4")
        assert manager.recv(4096) == b"READY=1\nSTATUS=leads at epoch 4"


def test_a_manager_that_is_not_there_is_no_error(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify(READY="1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    systemd.notify(READY="1")


def test_the_watchdog_is_fed_twice_a_period_and_only_by_whom_it_watches(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert systemd.watchdog_period_s() == 5.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_period_s() is None
