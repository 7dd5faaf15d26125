"""Bad input is named with file, line, key and what is accepted; all of it at once."""

import re
import ssl
from pathlib import Path

import pytest

from neto.agents.http import Server
from neto.errors import InputError, NetoError
from neto.model.intent import Ingress, IspWish, PrefixSplit
from neto.operation.adjusting import Rules
from neto.operation.options import adjusting_rules
from neto.settings.broker import broker
from neto.settings.collector import load_collector
from neto.settings.load import load_config
from neto.settings.peering import load_offline
from neto.settings.prometheus import source
from neto.wire.dialects import dialect
from neto.wire.prometheus import Reading

FILES = {
    "neto.toml": """
inventory = "inventory.toml"
intents = "intents.toml"
peering = "peering.toml"
[bgp]
asn = 65000
router_id = "10.0.0.1"
local_address = "127.0.0.1"
[[bgpls.speaker]]
address = "127.0.2.1"
""",
    "inventory.toml": """
[[site]]
name = "london"
region = "europe"
[[router]]
name = "lon1"
site = "london"
router_id = "10.255.0.1"
dialect = "lab"
bgp = "127.0.1.1:1790"
ssh = "127.0.1.1:2222"
exporters = ["127.0.1.1"]
prefixes = ["10.1.0.0/18"]
""",
    "intents.toml": """
headroom = 0.1
[[class]]
name = "gold"
dscp = [46]
max_delay_ms = 80
[[class]]
name = "rest"
""",
    "peering.toml": """
[[isp]]
name = "isp-a"
asn = 64500
[[peering_link]]
name = "lon-a-1"
node = "lon1"
isp = "isp-a"
capacity_mbps = 1000
[[prefix_group]]
name = "eyeballs"
prefixes = ["192.0.2.0/24"]
[[egress]]
prefix_group = "eyeballs"
peering_link = "lon-a-1"
delay_us = 8200
""",
}


@pytest.fixture
def config(tmp_path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path / "neto.toml"


def edit(config: Path, file: str, old: str, new: str) -> None:
    path = config.parent / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def problems(config: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_config(config)
    return [str(problem).removeprefix(f"{config.parent}/") for problem in caught.value.problems]


def test_good_files_load(config):
    loaded = load_config(config)
    assert loaded.intents.classes[0].max_delay_us == 80_000
    assert loaded.inventory.router["lon1"].bgp_port == 1790
    assert loaded.settings.state_dir == config.parent / "state"
    assert loaded.peering.egresses[0].delay_us == 8200


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("neto.toml", "asn", "ans", r"neto.toml:6: bgp\.ans: unknown key \(did you mean asn\?\); accepted: .*asn"),
        ("neto.toml", "65000", '"65000"', r"neto.toml:6: bgp\.asn: '65000' is not accepted; accepted: integer"),
        ("neto.toml", '"127.0.2.1"', '"here"', r"neto.toml:10: bgpls\.speaker\[1\]\.address: 'here'"),
        ("neto.toml", "[bgp]", "[ramp]\nportions=[50, 5]\n[bgp]", r"neto.toml:5: ramp: .*must grow"),
        (
            "inventory.toml",
            'site = "london"',
            'site = "paris"',
            r"inventory.toml:7: router\[1\]\.site: 'paris' is no si",
        ),
        ("inventory.toml", "127.0.1.1:1790", "127.0.1.1", r"inventory.toml:10: router\[1\]\.bgp: .*as in 192"),
        ("inventory.toml", "10.1.0.0/18", "10.1.0.1/18", r"inventory.toml:13: .*has host bits set"),
        ("inventory.toml", '"lab"', '"lap"', r"inventory.toml:9: .*'lap' is no dialect \(did you mean lab\?\)"),
        (
            "neto.toml",
            'address = "127.0.2.1"',
            'address = "127.0.1.1"',
            r"neto.toml:9: bgpls\.speaker\[1\]\.port: 179 is not lon1's BGP port, 1790",
        ),
        ("intents.toml", "0.1", "nan", r"intents.toml:2: headroom: nan is not a number; accepted: a finite number"),
        ("intents.toml", "0.1", "-0.1", r"intents.toml:2: headroom: -0\.1 is out of range; accepted: at least 0"),
        ("intents.toml", "[46]", "[64]", r"intents.toml:5: class\[1\]\.dscp\[1\]: 64 is out of range; accepted: at mo"),
        ("intents.toml", "[46]", "[]", r"intents.toml:5: class\[1\]\.dscp: is missing"),
        ("intents.toml", "headroom", 'frozen = ["x"]\nheadroom', r"intents.toml:2: frozen: 'x' is no router"),
        (
            "intents.toml",
            '[[class]]\nname = "rest"',
            '[prefix_split]\nmax_shift = 0\n[[class]]\nname = "rest"',
            r"intents.toml:8: prefix_split\.max_shift: 0 is out of range; accepted: more than 0",
        ),
        (
            "intents.toml",
            '[[class]]\nname = "rest"',
            '[prefix_split]\nmax_prefix = 9\n[[class]]\nname = "rest"',
            r"intents.toml:8: prefix_split\.max_prefix: unknown key \(did you mean max_prefixes\?\)",
        ),
        (
            "intents.toml",
            "[46]",
            "[46]\ninterfaces.fra1 = [3]",
            r"intents.toml:6: class\[1\]\.interfaces\.fra1: 'fra1' is no",
        ),
        ("intents.toml", "[46]", "[46]\ninterfaces.lon1 = [0]", r"intents.toml:6: .*lon1\[1\]: 0 is out of range"),
        ("intents.toml", "[46]", '[46]\nprefixes = ["10.1.9.0/24"]', r"intents.toml:6: .*is a part of 10\.1\.0\.0/18"),
        (
            "intents.toml",
            'name = "rest"',
            'name = "rest"\nprefixes = ["192.0.2.0/24"]\n[[class]]\nname = "third"\nprefixes = ["192.0.2.0/24"]',
            r"intents.toml:12: class\[3\]\.prefixes: 192\.0\.2\.0/24 is already of class rest",
        ),
        *(
            ("intents.toml", '[[class]]\nname = "rest"', f'[[isp]]\n{wish}\n[[class]]\nname = "rest"', expected)
            for wish, expected in (
                ('name = "isp-b"', r"intents.toml:8: .*'isp-b' is no ISP of the peering file"),
                ('name = "isp-a"\nmax_share = 2', r"intents.toml:9: .*2 is out of range"),
                ('name = "isp-a"\navoid = true\nprefer_ms = 3', r"intents.toml:9: .*avoid: and prefer_ms are of one"),
            )
        ),
        (
            "intents.toml",
            "headroom",
            'ingress = "force"\nheadroom',
            r"intents.toml:2: ingress: 'force' is not accepted",
        ),
        *(
            ("neto.toml", "[bgp]", f"[ingress]\n{line}\n[bgp]", expected)
            for line, expected in (
                ("hold_s = 100000", r"neto.toml:5: ingress: .*longest_hold_s below hold_s"),
                ("prepend = 11", r"neto.toml:6: ingress\.prepend: 11 is out of range"),
                ("med = 0", r"neto.toml:6: ingress\.med: 0 is out of range"),
                ("margin = 1.0", r"neto.toml:6: ingress\.margin: 1.0 is out of range"),
                ("min_effect = -0.1", r"neto.toml:6: ingress\.min_effect: -0.1 is out of range"),
            )
        ),
        ("peering.toml", "lon1", "fra1", r"peering.toml:7: peering_link\[1\]\.node: 'fra1' is no node; accepted: lon1"),
        ("peering.toml", "= 1000", "= inf", r"peering.toml:9: .*capacity_mbps: inf is not a number"),
        ("peering.toml", "192.0.2.0/24", "10.1.0.0/18", r"peering.toml:12: .*already originated by lon1"),
        ("peering.toml", "= 1000", "= 1000\ninterface = 0", r"peering.toml:10: .*interface: 0 is out of range"),
        (
            "peering.toml",
            "[[prefix_group]]",
            "".join(
                f'[[peering_link]]\nname = "{name}"\nnode = "lon1"\nisp = "isp-a"\ncapacity_mbps = 1\ninterface = 5\n'
                for name in ("two", "three")
            )
            + "[[prefix_group]]",
            r"peering.toml:21: peering_link\[3\]\.interface: 5 of lon1 already is two's",
        ),
        ("peering.toml", "= 1000", "= 1000\ninbound_limit_mbps = 0", r"peering.toml:10: .*limit_mbps: 0"),
        ("peering.toml", "= 1000", '= 1000\nlower_community = "64500:65536"', r"peering.toml:10: .*is no community"),
        ("peering.toml", "= 1000", '= 1000\nlower_community = "80"', r"peering.toml:10: .*is no community"),
        (
            "peering.toml",
            "= 1000",
            '= 1000\nannounced = ["10.1.0.0/18", "10.9.0.0/18"]',
            r"peering.toml:10: .*announced: '10\.9\.0\.0/18' is no prefix of a router .*; accepted: 10\.1\.0\.0/18",
        ),
        ("intents.toml", "headroom", 'ingress = "force"\nheadroom', r"intents.toml:2: ingress: .*advise"),
        (
            "peering.toml",
            "delay_us",
            "delay_ms",
            r"peering.toml:16: egress\[1\]\.delay_ms: unknown key \(did you mean de",
        ),
    ],
)
def test_each_mistake_is_named_with_its_place(config, file, old, new, expected):
    edit(config, file, old, new)
    assert any(re.match(expected, problem) for problem in problems(config)), problems(config)


def asks_to_apply(config, link=""):
    edit(config, "intents.toml", "headroom", 'ingress = "apply"\nheadroom')
    edit(config, "peering.toml", "= 1000", f"= 1000\ninterface = 5\n{link}")


def test_changes_of_announcements_are_accepted_where_they_can_be_made(config):
    asks_to_apply(config, 'peer_address = "100.64.1.2"')
    edit(config, "neto.toml", "[bgp]", "[ingress]\nprepend = 3\nhold_s = 5\n[bgp]")
    loaded = load_config(config)
    assert loaded.intents.ingress is Ingress.APPLY
    assert adjusting_rules(loaded.settings) == Rules(asn=65000, prepend=3, hold_s=5.0)


def test_a_link_without_its_peers_address_cannot_have_announcements_changed(config):
    asks_to_apply(config)
    (problem,) = problems(config)
    assert problem.startswith("peering.toml:5: peering_link[1].peer_address: is missing; accepted: the address of the")
    edit(config, "intents.toml", '"apply"', '"advise"')
    load_config(config)


def test_two_measured_links_to_one_peer_cannot_be_told_apart(config):
    address = 'peer_address = "100.64.1.2"\n'
    asks_to_apply(config, address)
    link = f'[[peering_link]]\nname = "two"\nnode = "lon1"\nisp = "isp-a"\ncapacity_mbps = 1\ninterface = 6\n{address}'
    edit(config, "peering.toml", "[[prefix_group]]", f"{link}[[prefix_group]]")
    assert "100.64.1.2 at lon1 already is lon-a-1's" in problems(config)[0]


def test_a_router_whose_dialect_cannot_adjust_announcements_is_named(config, monkeypatch):
    asks_to_apply(config, 'peer_address = "100.64.1.2"')
    monkeypatch.setattr(dialect("lab"), "adjusts", False)
    (problem,) = problems(config)
    assert problem.startswith("inventory.toml:9: router[1].dialect: 'lab' cannot adjust announcements of lon1")


def test_problems_of_all_files_come_at_once(config):
    edit(config, "intents.toml", "0.1", "2")
    edit(config, "peering.toml", "64500", "0")
    assert {problem.split(":")[0] for problem in problems(config)} == {"intents.toml", "peering.toml"}


def test_groups_are_split_by_whole_prefixes_only_where_the_intents_say_so(config):
    assert load_config(config).intents.prefix_split is None
    edit(config, "intents.toml", "headroom = 0.1", "headroom = 0.1\nprefix_split = {max_shift = 0.5}")
    assert load_config(config).intents.prefix_split == PrefixSplit(max_shift=0.5)


def test_demands_in_the_daemons_peering_file_are_refused(config):
    demand = '[[demand]]\nid="d"\nclass="gold"\nsource="lon1"\nprefix_group="eyeballs"\nrate_mbps=1\n'
    path = config.parent / "peering.toml"
    path.write_text(path.read_text() + demand)
    assert "offline only" in problems(config)[0]
    peering, demands = load_offline(path, ["lon1"])
    assert demands[0].target == "eyeballs"
    assert peering.groups[0].name == "eyeballs"


def test_a_peering_links_interface_is_none_inside_the_wan(config):
    edit(config, "inventory.toml", 'dialect = "lab"', 'dialect = "lab"\ncore_interfaces = [8, 9]')
    edit(config, "peering.toml", "= 1000", "= 1000\ninterface = 9")
    assert problems(config) == [
        "peering.toml:10: peering_link[1].interface: 9 is one of lon1's core_interfaces; accepted: one that leads out"
    ]


def test_leaves_need_a_broker_and_what_it_needs_is_named_with_its_line(config):
    text = config.read_text()
    config.write_text(text + '[netflow]\nleaves = ["fra", "fra"]\n')
    assert problems(config) == [
        "neto.toml:12: netflow.leaves: needs a broker; accepted: with a table [mqtt]",
        "neto.toml:12: netflow.leaves: 'fra' is named twice",
    ]
    config.write_text(text + '[mqtt]\nhost = "h"\nkey_file = "k"\npassword_file = "p"\ntopic = "a/+"\n')
    assert "neto.toml:15: mqtt.topic: 'a/+'" in problems(config)[0]
    config.write_text(config.read_text().replace("a/+", "a/b"))
    assert [line.partition(";")[0] for line in problems(config)] == [
        "neto.toml:13: mqtt.key_file: is of no use without TLS",
        "neto.toml:14: mqtt.password_file: needs a username",
        "neto.toml:13: mqtt.key_file: needs its certificate",
    ]


def test_the_brokers_files_are_relative_to_the_settings(config):
    more = '[netflow]\nleaves = ["fra"]\n[mqtt]\nhost = "h"\ntls = true\nca_file = "ca.crt"\nusername = "u"\n'
    config.write_text(config.read_text() + more + 'password_file = "password"\n')
    settings = load_config(config).settings
    assert settings.mqtt.ca_file == config.parent / "ca.crt"
    (config.parent / "ca.crt").write_text("no certificate")
    with pytest.raises(NetoError, match="password: no use as a password"):
        broker(settings.mqtt)
    (config.parent / "password").write_text("secret\nand more\n")
    with pytest.raises(NetoError, match=r"ca\.crt: no use for TLS"):
        broker(settings.mqtt)
    plain = broker(settings.mqtt.model_copy(update={"tls": False}))
    assert (plain.host, plain.username, plain.password, plain.tls) == ("h", "u", "secret", None)


def test_interfaces_inside_the_wan_are_read_and_zero_is_none(config):
    edit(config, "inventory.toml", 'dialect = "lab"', 'dialect = "lab"\ncore_interfaces = [3, 7]')
    assert load_config(config).inventory.router["lon1"].core_interfaces == {3, 7}
    edit(config, "inventory.toml", "[3, 7]", "[0]")
    assert "inventory.toml:10: router[1].core_interfaces[1]: 0 is out of range" in problems(config)[0]


def test_a_class_may_name_what_the_edge_marks_as_its_own(config):
    marked = '[46]\nprefixes = ["192.0.0.0/16", "10.1.0.0/18"]\ninterfaces.lon1 = [3, 7]'
    edit(config, "intents.toml", "[46]", marked)
    gold = load_config(config).intents.classes[0]
    assert [str(prefix) for prefix in gold.prefixes] == ["192.0.0.0/16", "10.1.0.0/18"]
    assert gold.interfaces == (("lon1", 3), ("lon1", 7))


def test_wishes_of_isps_are_read(config):
    wish = '[[isp]]\nname = "isp-a"\nprefer_ms = 3\nmax_share = 0.5\ncommit_mbps = 70\n[[class]]\nname = "rest"'
    edit(config, "intents.toml", '[[class]]\nname = "rest"', wish)
    assert load_config(config).intents.isps == (IspWish("isp-a", 3000.0, max_share=0.5, commit_mbps=70.0),)


def test_the_example_of_a_collector_loads():
    read = load_collector(Path(__file__).parents[2] / "config" / "neto-collector.toml")
    assert (read.settings.collector.name, read.settings.mqtt.host) == ("fra", "127.0.0.1")
    assert read.inventory.routers


TELLERS = """
[bmp]
[[bmp.router]]
name = "lon1"
address = "192.0.2.1"
"""


def test_borders_and_probes_that_cannot_be_are_named_with_their_lines(config):
    second = '[[bmp.router]]\nname = "lon2"\naddress = "192.0.2.1"\n[latency]\nmqtt = true\n'
    config.write_text(config.read_text() + TELLERS + second)
    assert problems(config) == [
        "neto.toml:18: bmp.router[2].address: '192.0.2.1' is already named on line 15",
        "neto.toml:17: bmp.router[2].name: 'lon2' is no router (did you mean lon1?); accepted: lon1",
        "neto.toml:20: latency.mqtt: needs a broker; accepted: with a table [mqtt]",
    ]


def test_rules_of_moves_and_of_holding_down_have_ranges(config):
    wrong = (
        "[latency]\nmin_gain = 1.0\nmore_loss = -1.0\nclosing_loss = 0.0\nclosing_samples = 0\n"
        "[damping]\nhold_s = -1.0\nmemory_s = 0.0\nlongest_s = 1e6\n"
    )
    config.write_text(config.read_text() + wrong)
    assert problems(config) == [
        "neto.toml:12: latency.min_gain: 1.0 is out of range; accepted: less than 1.0",
        "neto.toml:13: latency.more_loss: -1.0 is out of range; accepted: at least 0.0",
        "neto.toml:14: latency.closing_loss: 0.0 is out of range; accepted: more than 0.0",
        "neto.toml:15: latency.closing_samples: 0 is out of range; accepted: at least 1",
        "neto.toml:17: damping.hold_s: -1.0 is out of range; accepted: at least 0.0",
        "neto.toml:19: damping.longest_s: 1000000.0 is out of range; accepted: at most 86400.0",
        "neto.toml:18: damping.memory_s: 0.0 is out of range; accepted: more than 0.0",
    ]


def test_the_longest_hold_is_no_shorter_than_the_first(config):
    config.write_text(config.read_text() + "[latency]\nlongest_hold_s = 599.0\n[damping]\nhold_s = 901.0\n")
    latency, damping = problems(config)
    assert latency.startswith("neto.toml:11: latency: ")
    assert latency.endswith("has longest_hold_s below hold_s; accepted: longest_hold_s of 600 or more")
    assert damping.startswith("neto.toml:13: damping: ")
    assert damping.endswith("has longest_s below hold_s; accepted: longest_s of 901 or more")


def test_rules_of_holding_down_are_read(config):
    config.write_text(config.read_text() + "[damping]\nhold_s = 5\nlongest_s = 50.0\nmemory_s = 500\n")
    damping = load_config(config).settings.damping
    assert (damping.hold_s, damping.longest_s, damping.memory_s) == (5.0, 50.0, 500.0)


PROMETHEUS = '[[latency.prometheus]]\nurl = "https://metrics.example.net:9090/prom/"\nquery = "rtt[2m]"\n'


def test_a_prometheus_is_read_as_it_is_asked(config):
    more = (
        'unit = "ms"\nprobes = 5\nloss_query = "1 - up"\nvantage_label = "pop"\nusername = "neto"\n'
        'password_file = "secret"\ninterval_s = 15\ntimeout_s = 3.0\n'
    )
    second = (
        '[[latency.prometheus]]\nurl = "http://[::1]"\nquery = "x"\nsuccess_query = "up"\ntoken_file = "/run/token"\n'
    )
    config.write_text(config.read_text() + PROMETHEUS + more + second)
    one, two = map(source, load_config(config).settings.latency.prometheus)
    assert (one.server.host, one.server.port, one.path) == ("metrics.example.net", 9090, "/prom/api/v1/query")
    assert one.server.tls is not None
    assert one.server.tls.verify_mode == ssl.CERT_REQUIRED
    assert one.reading == Reading(1.0, 5, "pop", "peering_link", "prefix")
    assert (one.query, one.loss_query, one.username) == ("rtt[2m]", "1 - up", "neto")
    assert (one.interval_s, one.timeout_s) == (15.0, 3.0)
    assert one.password_file == config.parent / "secret"
    assert two.server == Server("::1", 80, None)
    assert (two.reading, two.loss_query) == (Reading(answered=True), "up")
    assert (two.path, two.token_file) == ("/api/v1/query", Path("/run/token"))


@pytest.mark.parametrize(
    ("line", "key", "accepted"),
    [
        ('url = "prometheus:9090"', "url", "accepted: as in https://prometheus.example.net:9090"),
        ('url = "ftp://x"', "url", "accepted: as in"), ('url = "http://u:p@x"', "url", "accepted: as in"),
        ('url = "http://x/?a=b"', "url", "accepted: as in"), ('url = "http://x:0"', "url", "accepted: as in"),
        ('url = "http://x:99999"', "url", "accepted: as in"), ('url = "http://x y"', "url", "accepted: as in"),
        ('url = "http://x/\\r\\nHost: y"', "url", "accepted: as in"), ('url = "http://[::1"', "url", "accepted: as in"),
        ('url = "http://x#y"', "url", "accepted: as in"), ('query = ""', "query", "at least 1 character"),
        ('unit = "us"', "unit", "accepted: 's' or 'ms'"), ("probes = 0", "probes", "accepted: at least 1"),
        ("interval_s = 0.5", "interval_s", "accepted: at least 1"),
        ("timeout_s = 0", "timeout_s", "accepted: more than 0"),
        ('prefix_label = "a-b"', "prefix_label", "accepted: letters, digits and _, as in peering_link"),
        ('username = "a:b"', "username", "accepted: printable, without a colon"),
        ('token = "x"', "token", "accepted: url, query, loss_query, success_query"),
    ],
)  # fmt: skip
def test_a_prometheus_that_cannot_be_asked_is_named_with_its_line(config, line, key, accepted):
    name = line.split(" ")[0]
    kept = "\n".join(each for each in PROMETHEUS.splitlines() if not each.startswith(name + " ="))
    config.write_text(config.read_text() + kept + "\n" + line + "\n")
    (problem,) = problems(config)
    number = next(at for at, each in enumerate(config.read_text().splitlines(), 1) if each == line)
    assert problem.startswith(f"neto.toml:{number}: latency.prometheus[1].{key}: ")
    assert accepted in problem


def test_what_a_prometheus_has_no_use_for_is_named(config):
    more = 'token_file = "t"\nusername = "u"\nkey_file = "k"\nloss_query = "x"\nsuccess_query = "y"\n'
    plain = PROMETHEUS.replace("https", "http") + 'password_file = "p"\nca_file = "c"\ncertificate_file = "d"\n'
    config.write_text(config.read_text() + PROMETHEUS + more + plain)
    assert problems(config) == [
        "neto.toml:18: latency.prometheus[1].success_query: is of no use with a loss_query; accepted: one of the two",
        "neto.toml:15: latency.prometheus[1].username: is of no use with a token_file; accepted: one of the two",
        "neto.toml:16: latency.prometheus[1].key_file: needs its certificate; accepted: with certificate_file",
        "neto.toml:22: latency.prometheus[2].password_file: needs a username; accepted: with username",
        "neto.toml:23: latency.prometheus[2].ca_file: is of no use without TLS; accepted: with a url of https",
        "neto.toml:24: latency.prometheus[2].certificate_file: is of no use without TLS; accepted: with a url of https",
    ]


def test_a_border_that_announces_its_routes_is_a_router_and_tells_them_no_other_way(config):
    rows = "".join(f'[[ibgp.router]]\nname = "{name}"\n' for name in ("lon1", "lon2", "lon2"))
    config.write_text(config.read_text() + TELLERS + rows)
    assert problems(config) == [
        "neto.toml:21: ibgp.router[3].name: 'lon2' is already named on line 19",
        "neto.toml:17: ibgp.router[1].name: 'lon1' tells its routes by BMP already; accepted: one of the two",
        "neto.toml:19: ibgp.router[2].name: 'lon2' is no router (did you mean lon1?); accepted: lon1",
        "neto.toml:21: ibgp.router[3].name: 'lon2' is no router (did you mean lon1?); accepted: lon1",
    ]


def test_files_of_samples_are_relative_to_the_settings(config):
    config.write_text(config.read_text() + TELLERS + '[latency]\ncsv = "samples.csv"\ntoken_file = "token"\n')
    settings = load_config(config).settings
    assert settings.latency.csv == config.parent / "samples.csv"
    assert settings.latency.token_file == config.parent / "token"
    assert [router.name for router in settings.bmp.router] == ["lon1"]
