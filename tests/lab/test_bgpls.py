"""What the lab says in BGP-LS is what exabgp reads in it, and where exabgp has no word for it, what the RFC draws."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import IPv4Network

import pytest

from neto.lab.bgp_update import encode_ls_reach
from neto.lab.bgpls import EpeLinkSpec, LsLinkSpec, LsNodeSpec, LsPrefixSpec, PeerSid, encode, objects

NYC = LsNodeSpec("nyc1", "10.255.0.1", "0000.0000.0001", algorithms=(0, 1), srlb=(15000, 1000))
LON = LsNodeSpec("lon1", "10.255.0.2", "0000.0000.0002", srgb=None, msd=None)
LINK = LsLinkSpec(
    NYC, LON, "10.1.2.1", "10.1.2.2", 100_000, igp_metric=20, te_metric=30, delay_us=27_935, srlgs=(1, 70_000),
    adjacency_sid=24_001, name="nyc1-lon1",
)  # fmt: skip
NYC_DESCRIPTORS = [{"autonomous-system": 65000}, {"router-id": "000000000001"}]
LON_DESCRIPTORS = [{"autonomous-system": 65000}, {"router-id": "000000000002"}]


def read_by_exabgp(spec):
    """Return (NLRI, BGP-LS attribute) as exabgp's own decoder tells them."""
    update = encode_ls_reach("127.0.9.101", *encode(spec))
    command = [sys.executable, "-I", "-m", "exabgp", "decode", "-f", "bgp-ls bgp-ls", update.hex()]
    said = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    message = said["neighbor"]["message"]["update"]
    ((nlri,),) = (message["announce"]["bgp-ls bgp-ls"][hop] for hop in ["127.0.9.101"])
    return nlri, message["attribute"].get("bgp-ls")


def test_a_node():
    nlri, attribute = read_by_exabgp(NYC)
    assert (nlri["ls-nlri-type"], nlri["protocol-id"]) == ("bgpls-node", 2)
    assert nlri["node-descriptors"] == NYC_DESCRIPTORS
    assert attribute["node-name"] == "nyc1"
    assert attribute["local-te-router-ids"] == ["10.255.0.1"]
    assert attribute["area-id"] == str(0x490001)
    assert attribute["sids"] == [[8000, 16000]]  # how many, first
    assert attribute["sr-capability-flags"]["I"] == 1
    assert attribute["sr-algorithms"] == [0, 1]
    assert attribute["generic-lsid-266"] == ["0x010A"]  # base MPLS imposition, 10 labels
    assert attribute["generic-lsid-1036"] == ["0x00000003E804890003003A98"]  # flags, 1000 labels, from 15000


def test_a_node_without_segment_routing():
    _, attribute = read_by_exabgp(LON)
    assert set(attribute) == {"node-name", "area-id", "local-te-router-ids"}


def test_a_link():
    nlri, attribute = read_by_exabgp(LINK)
    assert (nlri["ls-nlri-type"], nlri["protocol-id"]) == ("bgpls-link", 2)
    assert nlri["local-node-descriptors"] == NYC_DESCRIPTORS
    assert nlri["remote-node-descriptors"] == LON_DESCRIPTORS
    assert (nlri["interface-addresses"], nlri["neighbor-addresses"]) == (["10.1.2.1"], ["10.1.2.2"])
    assert attribute["maximum-link-bandwidth"] == pytest.approx(12.5e9, rel=1e-7)  # octets per second
    assert len(attribute["unreserved-bandwidth"]) == 8
    assert (attribute["igp-metric"], attribute["te-metric"]) == (20, 30)
    assert attribute["shared-risk-link-groups"] == [1, 70_000]
    assert attribute["link-name"] == "nyc1-lon1"
    assert attribute["sr-adj"]["sids"] == [24_001]
    assert [flag for flag, set_ in attribute["sr-adj"]["flags"].items() if set_] == ["V", "L"]
    assert attribute["generic-lsid-1114"] == [f"0x{27_935:08X}"]
    assert (attribute["local-te-router-ids"], attribute["remote-te-router-id"]) == (["10.255.0.1"], "10.255.0.2")


def test_a_link_that_says_little():
    _, attribute = read_by_exabgp(LsLinkSpec(NYC, LON, "10.1.2.1", "10.1.2.2", 100_000))
    assert not {"te-metric", "shared-risk-link-groups", "link-name", "sr-adj", "generic-lsid-1114"} & set(attribute)


@pytest.mark.parametrize("prefix", ["10.255.0.1/32", "10.5.0.0/18", "0.0.0.0/0"])
def test_a_prefix(prefix):
    nlri, attribute = read_by_exabgp(LsPrefixSpec(NYC, IPv4Network(prefix), 7, metric=11))
    assert (nlri["ls-nlri-type"], nlri["protocol-id"]) == ("bgpls-prefix-v4", 2)
    assert nlri["node-descriptors"] == NYC_DESCRIPTORS
    assert nlri["ip-reach-prefix"] == prefix
    assert (attribute["prefix-metric"], attribute["sids"], attribute["sr-algorithm"]) == (11, [7], 0)
    assert [flag for flag, set_ in attribute["sr-prefix-flags"].items() if set_] == ["N"]


def test_a_peer_node_segment():
    nlri, attribute = read_by_exabgp(EpeLinkSpec(NYC, 64500, "192.0.2.1", "198.51.100.1", "198.51.100.2", 25_001))
    assert (nlri["ls-nlri-type"], nlri["protocol-id"]) == ("bgpls-link", 7)
    assert nlri["local-node-descriptors"] == [
        {"autonomous-system": 65000},
        {"generic-node-descriptor-516": "0x0AFF0001"},
    ]
    assert nlri["remote-node-descriptors"] == [
        {"autonomous-system": 64500},
        {"generic-node-descriptor-516": "0xC0000201"},
    ]
    assert (nlri["interface-addresses"], nlri["neighbor-addresses"]) == (["198.51.100.1"], ["198.51.100.2"])
    assert nlri["link-identifiers"] == []
    assert attribute == {"generic-lsid-1101": [f"0xC0000000{25_001:06X}"]}  # V, L; weight 0; a label


def test_a_peer_adjacency_segment_names_its_link():
    spec = EpeLinkSpec(
        NYC, 64500, "192.0.2.1", "198.51.100.1", "198.51.100.2", 25_002, PeerSid.ADJACENCY, link_ids=(7, 0)
    )
    nlri, attribute = encode(spec)
    assert bytes.fromhex("0102 0008 00000007 00000000") in nlri  # RFC 9086 §5.2
    assert attribute == bytes.fromhex("044e 0007 c0 00 0000 0061aa")


def test_objects_are_told_apart_by_their_nlri():
    back = LsLinkSpec(LON, NYC, "10.1.2.2", "10.1.2.1", 100_000)
    assert len(objects([NYC, LON, LINK, back, LINK])) == 4
