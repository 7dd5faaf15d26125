"""The NetFlow agent: one UDP socket in the daemon's loop, with a decoder and an aggregator behind it.

Datagrams are received into slots and decoded many at once: when the slots are full, or the first of them has waited a
quarter of a second. While datagrams come the socket is looked at every few milliseconds, not at each of them, and a
bounded time is spent before the rest of the daemon has its turn. What then does not fit the socket's buffer is dropped
by the kernel, and counted.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import structlog

from neto.agents.monitoring.classify import Classifier
from neto.agents.monitoring.demand import ACTIVE_TIMEOUT_S, FlowAggregator
from neto.agents.monitoring.health import MAX_LOSS, Health
from neto.agents.monitoring.intake import Intake, warm
from neto.agents.monitoring.memory import Memory
from neto.agents.monitoring.slots import SLOTS, Slots
from neto.model.demand import DemandMatrix, ExporterHealth
from neto.model.demand_window import CellSpace, DemandWindow
from neto.model.intent import Intents
from neto.model.inventory import Inventory
from neto.model.peering import Peering
from neto.wire.netflow import Decoder

log = structlog.get_logger()

_SO_RCVBUFFORCE = 33  # Linux: beyond net.core.rmem_max, with CAP_NET_ADMIN
_SO_MEMINFO = 55  # Linux: uint32s about the socket's memory
_MEMINFO = struct.Struct("=9I")  # the ninth: datagrams dropped
_WAIT_S = 0.25  # that a datagram waits at most to be decoded with others
_BUSY_S, _QUIET_POLL_S = 0.001, 0.010  # until the socket is looked at again
_TURN_S = 0.010  # of work before the loop may do something else
_QUIET_S = 60.0  # between two lines of the log about one exporter
_MOST_QUIETED = 4096  # exporters and strangers remembered for that


class NetflowAgent:
    """Listens for flow exports and says what demand they amount to.

    listen: address and port. smooth: windows that `demand` averages over. active_timeout_s: of the exporters.
    max_loss: share of an exporter's flows lost on the way beyond which its router's demand is in doubt.
    receive_buffer: octets to ask the kernel for. reuse_port: share the address with other processes. closed: called
    with each window that is closed. memory: file that keeps templates and sampling over restarts. Datagrams from
    addresses that are no router's `exporters` are counted and not read.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        window_s: float,
        inventory: Inventory,
        peering: Peering,
        intents: Intents,
        *,
        smooth: int = 3,
        active_timeout_s: float = ACTIVE_TIMEOUT_S,
        max_loss: float = MAX_LOSS,
        receive_buffer: int = 16 << 20,
        reuse_port: bool = False,
        closed: Callable[[DemandWindow], None] | None = None,
        memory: Path | None = None,
    ) -> None:
        self.bound: tuple[str, int] | None = None  # where it listens, while it does
        self._listen = listen
        self._window_s = window_s
        self._receive_buffer = receive_buffer
        self._reuse_port = reuse_port
        self._decoder = Decoder()
        classifier = Classifier(inventory, peering, intents)
        self._aggregator = FlowAggregator(
            classifier,
            window_s,
            smooth,
            active_timeout_s=active_timeout_s,
            closed=closed,
            doubts=lambda: self._health.doubts(self._router_of),
        )
        self._router_of = _exporters(inventory)
        self._memory = Memory(memory, self._decoder.exporters) if memory else None
        self._health = Health(self._decoder, self._aggregator.clocks, max_loss=max_loss)
        self._counters = Counter(datagrams=0, unknown_exporters=0, kernel_drops=0, receive_errors=0)
        self._slots = Slots()
        self._since = 0.0  # when the first of what is in the slots came
        self._intake = Intake(self._decoder, self._aggregator, self._router_of)
        self._poll: asyncio.TimerHandle | asyncio.Handle | None = None
        self._idle = 0  # times in a row that nothing was there
        self._quieted: OrderedDict[str, float] = OrderedDict()

    async def reload(self, inventory: Inventory, peering: Peering, intents: Intents) -> None:
        """Listen for, and classify by, something else from when this returns on; tables are built in a thread."""
        classifier = await asyncio.to_thread(_following, self._aggregator.space, inventory, peering, intents)
        self._settle(time.time())
        self._router_of = _exporters(inventory)
        self._aggregator.reload(classifier)
        self._intake = Intake(self._decoder, self._aggregator, self._router_of)

    def opened(self) -> list[DemandWindow]:
        """What has been counted so far in windows that are not closed yet."""
        self._settle(time.time())
        return self._aggregator.opened()

    def flush(self, now: float) -> None:
        """Close every window as it is: there will be no more."""
        self._settle(now)
        self._aggregator.flush(now)

    def demand(self, now: float) -> DemandMatrix | None:
        """Mean demand over the last closed windows at `now` (unix seconds); None before the first has closed."""
        self._settle(now)
        return self._aggregator.demand(now)

    @property
    def health(self) -> list[ExporterHealth]:
        """How well each exporter is heard, one row for each of its observation domains."""
        return self._health.rows(self._router_of)

    @property
    def counters(self) -> dict[str, int]:
        """All that came in and what became of it, by name; octets with sampling applied."""
        octets = {f"octets_{name}": int(count) for name, count in asdict(self._aggregator.account).items()}
        return {
            **self._counters,
            **self._decoder.counters.as_dict(),
            "waiting_sets": sum(self._decoder.waiting.values()),
            "records_sampling_unknown": self._aggregator.records_sampling_unknown,
            **octets,
        }

    async def run(self) -> None:
        """Receive until cancelled.

        Raises OSError when the address cannot be bound.
        """
        if self._memory is None:
            await self._receive_on()
        else:
            async with self._memory.kept():
                await self._receive_on()

    async def _receive_on(self) -> None:
        loop = asyncio.get_running_loop()
        with _open(self._listen, self._receive_buffer, reuse_port=self._reuse_port) as receiver:
            address, port = receiver.getsockname()[:2]
            self.bound = (address, port)
            granted = receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # Linux tells twice what it holds
            log.info("netflow.listening", address=address, port=port, receive_buffer=granted)
            if granted < self._receive_buffer:
                log.warning(
                    "netflow.buffer_small", granted=granted, asked=self._receive_buffer, see="net.core.rmem_max"
                )
            try:
                await asyncio.to_thread(warm)  # what comes meanwhile waits in the socket's buffer
                loop.add_reader(receiver, self._wake, receiver)
                while True:
                    self._roll(time.time())
                    self._counters["kernel_drops"] = _dropped(receiver)
                    await asyncio.sleep(min(1.0, self._window_s / 4))
            finally:
                loop.remove_reader(receiver)
                if self._poll is not None:
                    self._poll.cancel()
                self._settle(time.time())
                self.bound = None

    def _wake(self, receiver: socket.socket) -> None:
        """Look at the socket by the clock while something comes, so that a datagram alone costs no turn of the loop."""
        asyncio.get_running_loop().remove_reader(receiver)
        if self._poll is not None:
            self._poll.cancel()
        self._idle = 0
        self._receive(receiver)

    def _receive(self, receiver: socket.socket) -> None:
        """Take what is there, and look again; whatever becomes of it, listening goes on."""
        received, empty = 0, True
        try:
            received, empty = self._drain(receiver)
        finally:
            self._look_again(receiver, received, empty=empty)

    def _drain(self, receiver: socket.socket) -> tuple[int, bool]:
        """Take what is there, for a bounded time; return how many datagrams, and whether that was all."""
        began, received, empty = time.monotonic(), 0, False
        while not empty and time.monotonic() - began < _TURN_S:
            before = self._slots.count
            try:
                empty = self._slots.receive(receiver)
            except OSError as error:  # an ICMP error of somebody else's, or memory is short: the socket lives on
                self._counters["receive_errors"] += 1
                self._say("netflow.receive_failed", peer="", now=time.time(), error=str(error))
                empty = True
            came = self._slots.count - before
            received += came
            now = time.time()
            if came and not before:
                self._since = now
            if not empty or not 0 <= now - self._since < _WAIT_S:
                self._take(now)
        return received, empty

    def _look_again(self, receiver: socket.socket, received: int, *, empty: bool) -> None:
        """Look at the socket again soon while something comes, else when it says so."""
        loop = asyncio.get_running_loop()
        self._idle = 0 if received else self._idle + 1
        if self._idle > 1:
            waited = time.time() - self._since
            self._poll = loop.call_later(max(0.0, _WAIT_S - waited), self._take_rest) if self._slots.count else None
            loop.add_reader(receiver, self._wake, receiver)
        elif not empty:
            self._poll = loop.call_soon(self._receive, receiver)
        else:
            self._poll = loop.call_later(_BUSY_S if received > SLOTS // 2 else _QUIET_POLL_S, self._receive, receiver)

    def _take_rest(self) -> None:
        """Decode what nothing has come after."""
        self._poll = None
        self._take(time.time())

    def _settle(self, now: float) -> None:
        """Have all that came counted, and the windows closed that are due."""
        self._take(now)
        self._roll(now)

    def _roll(self, now: float) -> None:
        self._intake.hear(now)
        self._aggregator.roll(now)

    def _take(self, now: float) -> None:
        """Decode and count what is in the slots."""
        slots = self._slots
        if not slots.count:
            return
        self._counters["datagrams"] += slots.count
        try:
            strangers, problems = self._intake.take(slots, now)
        finally:
            slots.clear()
        self._counters["unknown_exporters"] += len(strangers)
        for peer in strangers:
            self._say("netflow.unknown_exporter", peer, now)
        for peer, problem in problems:
            self._say("netflow.malformed", peer, now, router=self._router_of.get(peer, ""), error=problem)

    def _say(self, event: str, peer: str, now: float, **facts: object) -> None:
        """Log one line about a peer, and no more for a while."""
        if now - self._quieted.get(peer, 0.0) < _QUIET_S:
            return
        self._quieted[peer] = now
        self._quieted.move_to_end(peer)
        while len(self._quieted) > _MOST_QUIETED:
            self._quieted.popitem(last=False)
        log.warning(event, peer=peer, **facts)


def _following(before: CellSpace, inventory: Inventory, peering: Peering, intents: Intents) -> Classifier:
    """Build a classifier, ready to take over what was counted by another."""
    classifier = Classifier(inventory, peering, intents)
    classifier.space.translation(before)
    return classifier


def _open(listen: tuple[str, int], receive_buffer: int, *, reuse_port: bool) -> socket.socket:
    """Bind a UDP socket with as large a buffer as the kernel grants."""
    receiver = socket.socket(socket.AF_INET6 if ":" in listen[0] else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        try:
            receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
        except OSError:  # not ours to force, or not Linux
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if reuse_port:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        receiver.setblocking(False)
        receiver.bind(listen)
    except BaseException:
        receiver.close()
        raise
    return receiver


def _dropped(receiver: socket.socket) -> int:
    """Datagrams that the kernel dropped because the buffer was full; 0 where it does not tell."""
    try:
        told = receiver.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:  # not Linux
        return 0
    return int(_MEMINFO.unpack(told)[8]) if len(told) == _MEMINFO.size else 0


def _exporters(inventory: Inventory) -> dict[str, str]:
    """Router by the address its exports come from."""
    return {_plain(address): router.name for router in inventory.routers for address in router.exporters}


def _plain(address: str) -> str:
    """Write an address one way only: IPv4 in IPv6 as IPv4, no scope."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)
