"""The emulated router's SSH side, with a client other than the daemon's."""

import asyncio
import stat

import asyncssh
import pytest

from neto.lab.keys import make_keys
from neto.lab.ssh import serve_router
from neto.lab.state import RouterState

HOST = "127.0.8.101"
COMMIT = b"conf t\rsegment-routing\rtraffic-eng\rsegment-list a\rindex 1 mpls label 17\rcommit\r"


@pytest.fixture
async def lab(tmp_path):
    keys = make_keys(tmp_path, {"nyc1": (HOST, 0)})
    server = await serve_router(RouterState("nyc1", "10.255.0.1"), HOST, 0, keys.host_key("nyc1"), keys.authorized_keys)
    make_keys(tmp_path, {"nyc1": (HOST, server.port)})
    yield server, keys
    server.close()
    await server.wait_closed()


def login(lab, **options):
    server, keys = lab
    return asyncssh.connect(
        HOST,
        server.port,
        **{
            "username": "neto",
            "client_keys": [str(keys.client_key)],
            "known_hosts": str(keys.known_hosts),
            "config": None,
            **options,
        },
    )


async def typed(connection, keystrokes, until):
    """What the terminal shows, up to and including `until`."""
    process = await connection.create_process(term_type="vt100", encoding=None)
    process.stdin.write(keystrokes)
    shown = await asyncio.wait_for(process.stdout.readuntil(until), 10)
    process.close()
    return shown.decode()


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n", b"\r\0"])
async def test_every_line_end_that_clients_send_is_one(lab, line_end):
    async with login(lab) as connection:
        keystrokes = line_end.join([b"terminal length 0", b"configure terminal", b"exit", b"bye", b""])
        assert await typed(connection, keystrokes, b"bye\r\nnyc1# ") == (
            "nyc1# terminal length 0\r\nnyc1# configure terminal\r\nnyc1(config)# exit\r\n"
            "nyc1# bye\r\n% Unknown command: bye\r\nnyc1# "
        )


async def test_keys_that_people_use(lab):
    """Erase, give up a line, ask for help, leave configuration by control-Z, leave altogether by control-D."""
    async with login(lab) as connection:
        keystrokes = b"shox\x7fw v\x03configure ?\x15conf t\rsegment-routing\r\x1ashow vex\x08r\r\x04"
        process = await connection.create_process(term_type="vt100", encoding=None)
        process.stdin.write(keystrokes)
        shown = (await asyncio.wait_for(process.stdout.read(), 10)).decode()
    assert shown == (
        "nyc1# shox\b \bw v\r\nnyc1# configure ?\r\n  terminal\r\nnyc1# configure \r\nnyc1# conf t\r\n"
        "nyc1(config)# segment-routing\r\nnyc1(config-sr)# \r\nnyc1# show vex\b \br\r\n"
        "NetO lab router 1.0, in the manner of FRRouting (nyc1).\r\nnyc1# "
    )


async def test_no_password_is_asked_for_and_no_other_key_is_let_in(lab, tmp_path):
    stranger = make_keys(tmp_path / "stranger", {})
    for options in ({"client_keys": None, "password": "neto"}, {"client_keys": [str(stranger.client_key)]}):
        with pytest.raises(asyncssh.PermissionDenied):
            await login(lab, agent_path=None, **options)


async def test_one_line_can_be_asked_without_a_terminal(lab):
    async with login(lab) as connection:
        assert (await connection.run("show version")).stdout.startswith("NetO lab router")
        refused = await connection.run("reload")
        assert (refused.stdout, refused.exit_status) == ("% Unknown command: reload\n", 1)
        assert (await connection.run("commit")).exit_status == 1


async def test_many_sessions_at_once_stage_apart(lab):
    server, _ = lab
    async with login(lab) as one, login(lab) as other:
        first = await one.create_process(term_type="vt100", encoding=None)
        first.stdin.write(COMMIT.replace(b"commit\r", b""))
        await asyncio.wait_for(first.stdout.readuntil(b"17\r\n"), 10)
        await typed(other, COMMIT.replace(b"list a", b"list b"), b"complete.")
        assert list(server.router.running.segment_lists) == ["b"]
        first.stdin.write(b"commit\r")
        await asyncio.wait_for(first.stdout.readuntil(b"complete."), 10)
        assert sorted(server.router.running.segment_lists) == ["a", "b"]
        assert server.sessions == 2


async def test_leaving_forgets_what_was_staged(lab):
    server, _ = lab
    async with login(lab) as connection:
        await typed(connection, COMMIT.replace(b"commit\r", b"\r"), b"17\r\n")
    async with login(lab) as connection:
        await typed(connection, b"conf t\rcommit\r", b"complete.")
    assert server.router.running.segment_lists == {}


async def test_a_deaf_router_takes_the_commit_and_says_nothing(lab):
    server, _ = lab
    server.router.state.deaf = True
    async with login(lab) as connection:
        process = await connection.create_process(term_type="vt100", encoding=None)
        process.stdin.write(COMMIT + b"show version\r")
        await asyncio.wait_for(process.stdout.readuntil(b"commit\r\n"), 10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.stdout.readuntil(b"#"), 0.3)
    assert list(server.router.running.segment_lists) == ["a"]


async def test_noise_and_endless_lines_are_survived(lab):
    async with login(lab) as connection:
        noise = bytes(range(128, 256)) + b"\x01\x02\x1b[A" + b"x" * 5000
        shown = await typed(connection, noise + b"\rshow version\r", b"NetO lab router")
        assert shown.count("x") < 2100  # once echoed, once in the complaint


async def test_keys_are_the_owners_and_stay(tmp_path):
    keys = make_keys(tmp_path, {"nyc1": (HOST, 22), "lon1": (HOST, 23)})
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert set(files) == {"id_ed25519", "authorized_keys", "known_hosts", "nyc1.host_key", "lon1.host_key"}
    make_keys(tmp_path, {"nyc1": (HOST, 22), "lon1": (HOST, 23)})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    pins = keys.known_hosts.read_text().splitlines()
    assert [pin.split()[:2] for pin in pins] == [[HOST, "ssh-ed25519"], [f"[{HOST}]:23", "ssh-ed25519"]]
    assert pins[0].split()[2] != pins[1].split()[2]
