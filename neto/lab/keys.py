"""The lab's SSH keys: one host key a router, one client key for the daemon, and the files that pin them.

Kept between runs, so that a daemon's pinned keys stay true. Everything secret is readable by its owner alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class LabKeys:
    """Where the keys of one lab are."""

    directory: Path

    @property
    def client_key(self) -> Path:
        """Private key that the daemon logs in with."""
        return self.directory / "id_ed25519"

    @property
    def authorized_keys(self) -> Path:
        """Public keys that every router accepts."""
        return self.directory / "authorized_keys"

    @property
    def known_hosts(self) -> Path:
        """Host keys of the routers, pinned by address and port."""
        return self.directory / "known_hosts"

    def host_key(self, router: str) -> Path:
        """Private key of one router."""
        return self.directory / f"{router}.host_key"


def make_keys(directory: Path, routers: Mapping[str, tuple[str, int]]) -> LabKeys:
    """Make what is missing for these routers, name -> (address, port), and write the pins anew."""
    directory.mkdir(parents=True, exist_ok=True)
    keys = LabKeys(directory)
    client = _key(keys.client_key, "neto")
    _write(keys.authorized_keys, client.export_public_key())
    pins = [
        f"{_host(address, port)} ".encode() + _key(keys.host_key(name), name).export_public_key()
        for name, (address, port) in routers.items()
    ]
    _write(keys.known_hosts, b"".join(pins))
    return keys


def _host(address: str, port: int) -> str:
    """Name a host as OpenSSH does in known_hosts: the usual port goes without saying."""
    return address if port == SSH_PORT else f"[{address}]:{port}"


def _key(path: Path, comment: str) -> asyncssh.SSHKey:
    """Read a key, or make it."""
    if not path.exists():
        made = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
        _write(path, made.export_private_key())
    return asyncssh.read_private_key(path)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, and never readable by others."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp gives mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
