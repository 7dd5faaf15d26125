"""A process that leads when it can, and pushes as fast as it may while it does.

Arguments: state directory, address of the judge's datagram socket, seconds between beats. Every push says its sender's
epoch. A push that `check` refuses is not sent; the term ends when it is lost.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

from neto.errors import LeaseLostError
from neto.ha.leader import Timing, leadership
from neto.store.sqlite import open_store


async def main(state_dir: Path, judge: str, timing: Timing) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.connect(judge)
        async with await open_store(state_dir / "neto.db") as store:
            out.send(b"stands %d 0" % os.getpid())
            async with leadership(state_dir / "leader.lock", store, timing) as term:
                while not term.lost.is_set():
                    try:
                        term.check()
                        out.send(b"pushes %d %d" % (os.getpid(), term.epoch))
                    except LeaseLostError:
                        out.send(b"refuses %d %d" % (os.getpid(), term.epoch))
                    await asyncio.sleep(0.005)
            out.send(b"resigns %d %d" % (os.getpid(), term.epoch))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Timing(beat_s=float(sys.argv[3]))))
