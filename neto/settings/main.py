"""neto.toml -> Settings: one section for each part of the daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from neto.settings.latency import Latency
from neto.settings.schema import Count, Endpoint, Ipv4, NonNegative, Percent, Port, Positive, Section, Share

Leaf = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Log(Section):
    """What the log looks like."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal, JSON elsewhere


class Cycle(Section):
    """When to decide."""

    period_s: Positive = 30.0
    settle_s: NonNegative = 0.2  # a burst of topology changes is decided on once it has been quiet for so long


class Bgp(Section):
    """Sessions to the routers."""

    asn: Annotated[int, Field(ge=1, le=4294967294)]
    router_id: Ipv4
    local_address: Ipv4
    community: Annotated[int, Field(ge=1, le=65535)] = 900  # routes of ours carry ASN:community
    hold_time_s: Annotated[int, Field(ge=3, le=3600)] = 9
    graceful_restart_s: Annotated[int, Field(ge=0, le=4095)] = 0  # 0: a crash withdraws at once


class Speaker(Section):
    """A router that tells the topology."""

    address: Ipv4
    port: Port = 179


class BgpLs(Section):
    """Topology; speakers in order of preference."""

    speaker: tuple[Speaker, ...] = Field(min_length=1, strict=False)
    stale_ttl_s: Positive = 300.0  # how long a lost speaker's topology is still believed
    quiet_s: Positive = 3.0  # a speaker that sends no End-of-RIB counts as complete after so long a silence


class FlowExports(Section):
    """Flow exports, and the windows that they are counted in."""

    listen: Endpoint = Field(default="127.0.0.1:2055", validate_default=True)
    window_s: Annotated[float, Field(gt=0, le=3600)] = 10.0  # the same for every collector of a hierarchy
    # How long exporters wait at most before they tell of a flow that goes on, and so how long a window may wait for
    # what was sent in it. It waits no longer than what comes shows to be needed: exporters that report every second
    # cost a second. 0: never wait; octets then count in the first window that is open when they are told.
    active_timeout_s: Annotated[float, Field(ge=0, le=3600)] = 60.0
    receive_buffer_mb: Annotated[int, Field(ge=1, le=1024)] = (
        16  # asked of the kernel; the log says when it grants less
    )
    reuse_port: bool = False  # true: several collectors of one host share the address; an exporter keeps to one of them
    max_loss: Percent = 5.0  # % of a router's flows lost on the way beyond which its demand is in doubt


class Netflow(FlowExports):
    """Demand."""

    smooth: Count = 3  # windows averaged into the demand
    leaves: tuple[Leaf, ...] = Field(default=(), max_length=256, strict=False)  # collectors that listen in our place
    late_s: NonNegative = 75.0  # how long a window waits for the other leaves once the first has told it
    ttl_s: Positive = 300.0  # how long the last good demand stands in for one that fails its checks


class Mqtt(Section):
    """The broker between collectors. Files are relative to this one."""

    host: str
    port: Port = 1883  # 8883 where TLS is spoken, as a rule
    topic: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")] = "neto"
    username: str | None = None
    password_file: Path | None = Field(default=None, strict=False)  # its first line
    tls: bool = False
    ca_file: Path | None = Field(default=None, strict=False)  # who vouches for the broker; none: the system's
    certificate_file: Path | None = Field(default=None, strict=False)  # ours
    key_file: Path | None = Field(default=None, strict=False)
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 15  # a broker that is frozen is found out within 1.5 times this


class BmpRouter(Section):
    """A border router that tells its routes."""

    name: str  # in the inventory
    address: Ipv4  # that it connects from


class Bmp(Section):
    """Routes of the borders (RFC 7854): routers connect to us."""

    listen: Endpoint = Field(default="127.0.0.1:11019", validate_default=True)
    router: tuple[BmpRouter, ...] = Field(default=(), strict=False)
    stale_ttl_s: Positive = 300.0  # how long routes of a lost session, or ones in doubt, still count
    quiet_s: Positive = 5.0  # a peer of whom nothing came for so long has told everything
    settle_s: Positive = 45.0  # and has, at the latest, so long after its first route
    max_loss: Percent = 50.0  # % of a peer's prefixes withdrawn at once that are not believed


class IbgpRouter(Section):
    """A border router that announces its routes in the session that we open to it."""

    name: str  # in the inventory
    single: bool = False  # true: it may send one route for a prefix only, its best external one


class Ibgp(Section):
    """Routes of the borders by iBGP. How long they count, and how much of them may go at once, is said in [bmp]."""

    router: tuple[IbgpRouter, ...] = Field(min_length=1, strict=False)


class Damping(Section):
    """Exits that close and open again and again, by their BGP session or by what probes lose.

    The second time within memory_s an exit is left alone for hold_s after it is back; twice as long each further time.
    """

    hold_s: Annotated[float, Field(ge=0, le=86400)] = 60.0  # 0: never
    longest_s: Annotated[float, Field(ge=0, le=86400)] = 900.0
    memory_s: Annotated[float, Field(gt=0, le=604800)] = 1800.0

    @model_validator(mode="after")
    def _grows(self) -> Damping:
        if self.longest_s < self.hold_s:
            raise ValueError(f"has longest_s below hold_s; accepted: longest_s of {self.hold_s:g} or more")
        return self


class Ingress(Section):
    """Announcements that are made less attractive where the intents say `ingress = "apply"`, and made plain again."""

    med: Annotated[int, Field(ge=1, le=4294967295)] = 100  # where a MED does it
    prepend: Annotated[int, Field(ge=1, le=10)] = 1  # how often our AS number is put before a path
    min_effect: Share = 0.25  # share of what was to leave a link that must have left it, or the change is taken back
    margin: Share = 0.1  # share of a link's limit that stays free when a change is removed
    settle_s: NonNegative = 60.0  # how long others may take to follow a change; what came before is not looked at
    hold_s: NonNegative = 600.0  # how long a change stays, or one that did not help stays away; then twice as long
    longest_hold_s: NonNegative = 86400.0

    @model_validator(mode="after")
    def _grows(self) -> Ingress:
        if self.longest_hold_s < self.hold_s:
            raise ValueError(f"has longest_hold_s below hold_s; accepted: longest_hold_s of {self.hold_s:g} or more")
        return self


class Controller(Section):
    """How to decide."""

    paths: Annotated[int, Field(ge=1, le=64)] = 4  # candidate paths a demand
    by_metric: bool = False  # the shortest by IGP metric instead of delay
    diverse: bool = False  # among them one that shares as little risk as possible with the shortest
    max_paths: Annotated[int, Field(ge=1, le=64)] = 4  # used at once
    weight_grain: Annotated[int, Field(ge=2, le=10000)] = 100  # shares are multiples of 1 / weight_grain
    solve_limit_s: Positive = 10.0  # after which the allocation falls back to quicker ways, and says so
    min_gain: NonNegative = 0.1  # share of a demand's delay or throughput that a change of paths must earn


class Safety(Section):
    """When to stop and ask."""

    max_shift: Percent = 100.0  # % of the traffic one plan may move without `neto approve`
    max_topology_loss: Percent = 30.0  # % of nodes or links gone at once that freezes everything
    max_demand_jump: Annotated[float, Field(gt=1)] = 10.0  # total demand over the last one that is not believed
    demand_margin: Annotated[float, Field(ge=0, le=100)] = 3.0  # % by which demand is taken for larger than measured
    max_moves: Count = 2000  # moves in one plan


class Ramp(Section):
    """From legacy forwarding to all of the traffic."""

    start: Literal["observe", "ramp"] = "observe"  # on the first start; later starts go on where they were
    portions: tuple[Percent, ...] = Field(default=(5.0, 25.0, 50.0, 100.0), min_length=1, strict=False)
    hold_cycles: Count = 2  # clean cycles before the next portion

    @model_validator(mode="after")
    def _grows(self) -> Ramp:
        if list(self.portions) != sorted(set(self.portions)):
            raise ValueError("ramp.portions must grow; accepted: as in [5, 25, 50, 100]")
        return self


class Scheduler(Section):
    """How changes reach devices."""

    concurrency: Count = 16  # devices worked on at once
    per_site: Count = 2  # devices of one site in flight at once
    deadline_s: Positive = 20.0  # for one task on one device
    readback_attempts: Count = 3


class Ssh(Section):
    """How to log in to routers. Files are relative to neto.toml."""

    username: str = "neto"
    key_file: Path = Field(default=Path("/etc/neto/ssh/id_ed25519"), strict=False)
    known_hosts: Path = Field(default=Path("/etc/neto/ssh/known_hosts"), strict=False)
    connect_timeout_s: Positive = 5.0
    read_timeout_s: Positive = 15.0


class Retention(Section):
    """How much history is kept."""

    cycles: Count = 2000


class Settings(Section):
    """neto.toml. Paths are relative to the file."""

    state_dir: Path = Field(default=Path("state"), strict=False)
    inventory: Path = Field(default=Path("config/inventory.toml"), strict=False)
    intents: Path = Field(default=Path("config/intents.toml"), strict=False)
    peering: Path | None = Field(default=None, strict=False)
    lab: Path | None = Field(default=None, strict=False)  # the emulated WAN's scenario, for `neto lab`
    log: Log = Log()
    cycle: Cycle = Cycle()
    bgp: Bgp
    bgpls: BgpLs
    netflow: Netflow = Netflow()
    mqtt: Mqtt | None = None  # needed where there are netflow.leaves, or latency.mqtt
    bmp: Bmp | None = None
    ibgp: Ibgp | None = None
    latency: Latency | None = None
    damping: Damping = Damping()
    ingress: Ingress = Ingress()
    controller: Controller = Controller()
    safety: Safety = Safety()
    ramp: Ramp = Ramp()
    scheduler: Scheduler = Scheduler()
    ssh: Ssh = Ssh()
    retention: Retention = Retention()
