"""Captures of real exporters: each decodes, or is counted for the reason given here.

Octets and packets are tshark's sums of the same packets (its Octets and Packets; Permanent ones for YAF and ASA,
Initiator ones for ASA), but where it reads less: it takes one message of a datagram, the first record of a
data set whose template has varying lengths in v9, and no data that came before its template. Those are marked.
"""

from __future__ import annotations

import pytest

from neto.wire.netflow import Decoder
from neto.wire.pcap import Capture
from tests.wire.netflow.packets import a_set, ipfix, template, whole

# First part of the names of the files -> records, octets, packets. Templates go before data.
VENDORS = {
    "ipfix.dat": (12, 13279, 54),  # three messages; tshark reads the first
    "ipfix_test_barracuda_tpl ipfix_test_barracuda_data": (8, 388, 4),
    "ipfix_test_barracuda_extended_uniflow_tpl ipfix_test_barracuda_extended_uniflow_data": (2, 0, 0),
    "ipfix_test_ixia": (3, 492, 6),
    "ipfix_test_juniper_mx240_junos151r6s3_opttpl ipfix_test_juniper_mx240_junos151r6s3_data": (0, 0, 0),
    "ipfix_test_mikrotik_tpl ipfix_test_mikrotik_data": (46, 103235, 253),
    "ipfix_test_netscaler_tpl ipfix_test_netscaler_data": (3, 3106, 5),
    "ipfix_test_nokia_bras_tpl ipfix_test_nokia_bras_data": (1, 0, 0),
    "ipfix_test_openbsd_pflow_tpl ipfix_test_openbsd_pflow_data": (26, 99323, 209),
    "ipfix_test_procera_tpl ipfix_test_procera_data": (8, 0, 0),
    "ipfix_test_viptela_tpl ipfix_test_viptela_data": (1, 775, 8),
    "ipfix_test_vmware_vds_tpl ipfix_test_vmware_vds_data": (5, 806, 8),
    "ipfix_test_yaf_tpl ipfix_test_yaf_data": (2, 304, 6),
    "netflow5.dat": (30, 18684, 230),  # twelve messages; tshark reads the first
    "netflow5_test_invalid01": (0, 0, 0),
    "netflow5_test_invalid02": (0, 0, 0),
    "netflow5_test_juniper_mx80": (29, 3989, 31),
    "netflow5_test_microtik": (30, 40812, 160),
    "netflow9_cisco_asr1001x": (25, 38255, 124),
    "netflow9_test_0length_fields": (10, 64, 2),
    "netflow9_test_cisco_1941K9": (29, 70258, 370),
    "netflow9_test_cisco_aci_tpl netflow9_test_cisco_aci_data": (3, 297, 6),
    "netflow9_test_cisco_asa_1_tpl netflow9_test_cisco_asa_1_data": (14, 888, 0),
    "netflow9_test_cisco_asa_2_tpl netflow9_test_cisco_asa_2_data": (19, 1131, 0),
    "netflow9_test_cisco_asr9k_opt netflow9_test_cisco_asr9k_tpl netflow9_test_cisco_asr9k_data": (21, 208031, 531),
    "netflow9_test_cisco_nbar_opt netflow9_test_cisco_nbar_tpl netflow9_test_cisco_nbar_data": (5, 3064, 40),
    "netflow9_test_cisco_wlc_tpl netflow9_test_cisco_wlc_data": (19, 142991108, 133708),
    "netflow9_test_cisco_wlc_8510": (0, 0, 0),
    "netflow9_test_field_layer2segmentid_tpl netflow9_test_field_layer2segmentid_data": (1, 52, 1),
    "netflow9_test_fortigate_fortios_521_tpl netflow9_test_fortigate_fortios_521_data": (1, 152, 3),
    "netflow9_test_fortigate_fortios_542_appid_tpl netflow9_test_fortigate_fortios_542_appid_data": (17, 29492, 105),
    "netflow9_test_h3c_tpl netflow9_test_h3c_data": (16, 8729687, 6113),  # 16 sets; tshark reads one
    "netflow9_test_h3c_netstream_varstring_tpl netflow9_test_h3c_netstream_varstring_data": (1, 702, 9),
    "netflow9_test_huawei_netstream_tpl netflow9_test_huawei_netstream_data": (1, 200, 4),
    "netflow9_test_invalid01": (2, 194, 2),  # its header counts two of six records; tshark stops there
    "netflow9_test_iptnetflow": (12, 7598, 74),
    "netflow9_test_juniper_srx": (0, 0, 0),
    "netflow9_test_macaddr_tpl netflow9_test_macaddr_data": (29, 0, 0),
    "netflow9_test_nprobe_tpl netflow9_test_nprobe_data": (1, 200, 2),
    "netflow9_test_nprobe_dpi": (1, 82, 1),
    "netflow9_test_paloalto_81_tpl netflow9_test_paloalto_81_data": (1, 363, 3),
    "netflow9_test_paloalto_panos_tpl netflow9_test_paloalto_panos_data": (8, 617, 8),
    "netflow9_test_softflowd": (7, 1128, 13),
    "netflow9_test_streamcore": (4, 7295, 28),
    "netflow9_test_ubnt_edgerouter_tpl netflow9_test_ubnt_edgerouter_data": (16, 20418, 114),
    "netflow9_test_unknown": (2, 310, 2),
    "netflow9_test_valid01": (7, 1128, 13),
    "packet_invalid": (0, 0, 0),
    "packet_ipfix_template.dat packet_ipfix.dat": (22, 10826, 72),
    "packet_ipfix_template_ether packet_ipfix_ether": (22, 10826, 72),
    "packet_ipfix_padding": (2, 504, 6),
    "packet_v1": (0, 0, 0),
    "packet_v5": (3, 1849, 21),
    "packet_v9_template.dat packets_v9": (44, 722502, 1036),
    "packet_v9_template_mixed": (8, 164207, 208),  # data before its template
    "packet_v9_with_zeros": (0, 0, 0),
    "file-v5": (1000, 856000, 2000),
    "file-v9": (1000, 856000, 2000),
    "file-v10": (1000, 856000, 2000),
    "lo-v9": (11, 489984, 528),  # data before its template
    "veth-v5": (23, 937696, 1015),
    "veth-v10": (23, 940832, 1018),
}
MALFORMED = {
    "netflow5_test_invalid01": "v5 header says 55582 records and 30 are there",
    "netflow5_test_invalid02": "v5 header says 163 records and 30 are there",
    "packet_invalid": "version 65535; expected NetFlow 5 or 9, IPFIX (10), or sFlow 5",
    "packet_v1": "version 1; expected NetFlow 5 or 9, IPFIX (10), or sFlow 5",
}
# Templates that no packet of the capture brings -> sets that wait for them.
WITHOUT_TEMPLATE = {
    "ipfix_test_netscaler_tpl ipfix_test_netscaler_data": {280: 1},
    "netflow9_test_iptnetflow": {259: 5, 262: 1},
    "packet_v9_with_zeros": {260: 5},
}


def files(captures, names):
    """Files of a capture in the order of their names' first parts."""
    found = [sorted(captures.glob(f"*/{name}*")) for name in names.split()]
    assert all(found)
    others = {path for other in VENDORS if other not in names.split() for path in captures.glob(f"*/{other}*")}
    return [path for paths in found for path in paths if path not in others or len(names.split()) > 1]


@pytest.mark.parametrize("names", VENDORS)
def test_a_vendors_packets_decode_or_are_counted_for_a_reason(captures, names):
    decoder = Decoder()
    octets = packets = 0
    problems = []
    for path in files(captures, names):
        decoded = decoder.decode(path.read_bytes(), "a", 0.0)
        problems += [str(problem) for problem in decoded.problems]
        octets += sum(int(flows.octets.sum()) for flows in decoded.flows)
        packets += sum(int(flows.packets.sum()) for flows in decoded.flows)
    assert (decoder.counters.records, octets, packets) == VENDORS[names]
    assert problems == ([MALFORMED[names]] if names in MALFORMED else [])
    assert {key[1][2]: sets for key, sets in decoder.waiting.items()} == WITHOUT_TEMPLATE.get(names, {})
    assert decoder.counters.reserved_sets == decoder.counters.undecoded_sets == 0


def test_every_capture_that_is_there_is_tried(captures):
    tried = {path for names in VENDORS for path in files(captures, names)}
    assert {path for path in captures.glob("*/*.dat") if path.stat().st_size} == tried


def test_softflowds_real_sequences_have_no_gaps(captures):
    for names in ("file-v5", "file-v9", "file-v10"):
        decoder = Decoder()
        for path in files(captures, names):
            decoder.decode(path.read_bytes(), "a", 0.0)
        assert decoder.counters.gaps == decoder.counters.late_messages == decoder.counters.restarts == 0


def test_a_capture_of_other_traffic_is_all_errors_and_nothing_else(captures):
    decoder = Decoder()
    count = 0
    for datagram in Capture((captures / "softflowd" / "in.pcap").read_bytes()).datagrams():
        count += 1
        assert decoder.decode(datagram.payload, datagram.src, 0.0).flows == ()
    assert decoder.counters.errors == count > 0


def test_junipers_options_say_its_sampling(captures):
    decoder = Decoder()
    for path in files(captures, next(names for names in VENDORS if "mx240" in names)):
        decoder.decode(path.read_bytes(), "a", 0.0)
    flows = ipfix(a_set(2, template(300, (1, 4))), a_set(300, whole((5, 4))), domain=524288)
    assert decoder.decode(flows, "a", 0.0).flows[0].sampling.tolist() == [1000]  # tshark: Sampling interval: 1000
