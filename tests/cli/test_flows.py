"""`neto flows` from files to a file: what the exporter sent is what is told."""

from __future__ import annotations

import json
import struct
import sys
from ipaddress import ip_address

import pytest

from neto.cli.main import main
from neto.lab.export import Exporter, Flow

T0 = 1_800_000_000.0
FLOWS = [
    Flow(ip_address("10.0.0.1"), ip_address("10.1.0.1"), 1500, 1, 184, 3, 4, T0 - 2, T0 - 1),
    Flow(ip_address("2001:db8::"), ip_address("2001:db8::2"), 5_000, 5, 0, 1, 2, T0 - 2, T0 - 1),
]
TOTALS = ("messages", "records", "octets", "packets", "undecoded_sets", "errors")


def run(monkeypatch, *arguments):
    """Run the command; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["neto", "flows", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code or 0


def document(monkeypatch, tmp_path, *files):
    out = tmp_path / "out.json"
    assert run(monkeypatch, *files, "--json", out) == 0
    return json.loads(out.read_text())


def written(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def payload_files(tmp_path, packets):
    return [written(tmp_path, f"{number:03}.dat", packet) for number, packet in enumerate(packets)]


def capture_of(packets, sources):
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 228)
    for packet, source in zip(packets, sources, strict=True):
        udp = struct.pack("!HHHH", 4000, 4739, 8 + len(packet), 0) + packet
        ip = (
            struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, ip_address(source).packed, bytes(4))
            + udp
        )
        data += struct.pack("<IIII", 0, 0, len(ip), len(ip)) + ip
    return data


def test_payload_files_are_read_in_order_with_their_templates_carried_on(monkeypatch, tmp_path):
    files = payload_files(tmp_path, Exporter("ipfix", 7).packets(FLOWS, T0))
    told = document(monkeypatch, tmp_path, *files)
    assert told["format"] == "neto-flows/1"
    assert told["totals"] == dict(zip(TOTALS, (3, 2, 6500, 6, 0, 0), strict=True))
    v4, v6 = told["flows"]
    assert v4 == {
        "exporter": "file",
        "version": 10,
        "domain": 7,
        "template": 257,
        "src": "10.0.0.1",
        "dst": "10.1.0.1",
        "octets": 1500,
        "packets": 1,
        "tos": 184,
        "in_if": 3,
        "out_if": 4,
        "sampling": 1,
        "sampling_told": True,
        "start": T0 - 2,
        "end": T0 - 1,
    }
    assert (v6["src"], v6["dst"], v6["template"]) == ("2001:db8::", "2001:db8::2", 258)


def test_octets_stand_as_exported_beside_the_sampling(monkeypatch, tmp_path):
    files = payload_files(tmp_path, Exporter("v9", sampling=100).packets(FLOWS[:1], T0))
    (flow,) = document(monkeypatch, tmp_path, *files)["flows"]
    assert (flow["octets"], flow["sampling"]) == (15, 100)


def test_a_capture_tells_its_exporters_apart_by_address(monkeypatch, tmp_path):
    packets = Exporter("v5").packets(FLOWS[:1] * 31, T0)
    told = document(monkeypatch, tmp_path, written(tmp_path, "x.pcap", capture_of(packets, ["192.0.2.1", "192.0.2.2"])))
    assert [flow["exporter"] for flow in told["flows"]] == ["192.0.2.1"] * 30 + ["192.0.2.2"]
    assert told["totals"]["octets"] == 31 * 1500


def test_sflow_and_netflow_of_one_capture_are_told_apart(monkeypatch, tmp_path):
    ip = struct.pack("!BBHIBBH4s4s", 0x45, 184, 1400, 0, 64, 17, 0, bytes([10, 0, 0, 1]), bytes([10, 1, 0, 9]))
    record = struct.pack("!6I", 1, 16 + len(ip), 11, 1400, 0, len(ip)) + ip  # a bare IPv4 header
    sampled = struct.pack("!8I", 1, 7, 512, 5000, 0, 7, 9, 1) + record
    sflow = struct.pack("!7I", 5, 1, 0, 3, 1, 100, 1) + struct.pack("!II", 1, len(sampled)) + sampled
    netflow = Exporter("v5", 7).packets(FLOWS[:1], T0)
    capture = capture_of([sflow, *netflow], ["192.0.2.1"] * (1 + len(netflow)))
    told = document(monkeypatch, tmp_path, written(tmp_path, "both.pcap", capture))
    assert told["totals"] == dict(zip(TOTALS, (2, 2, 2900, 2, 0, 0), strict=True))
    assert told["flows"][0] == {
        "exporter": "192.0.2.1",
        "version": "sflow",
        "domain": 3,
        "template": 0,
        "src": "10.0.0.1",
        "dst": "10.1.0.9",
        "octets": 1400,
        "packets": 1,
        "tos": 184,
        "in_if": 7,
        "out_if": 9,
        "sampling": 512,
        "sampling_told": True,
        "start": None,
        "end": None,
    }
    assert told["flows"][1]["version"] == 5


def test_data_whose_template_comes_in_a_later_file_is_decoded_and_else_counted(monkeypatch, tmp_path):
    templates, data, _ = payload_files(tmp_path, Exporter("v9").packets(FLOWS, T0))
    late = document(monkeypatch, tmp_path, data, templates)
    assert (late["totals"]["records"], late["totals"]["undecoded_sets"]) == (1, 0)
    never = document(monkeypatch, tmp_path, data)
    assert (never["totals"]["records"], never["totals"]["undecoded_sets"]) == (0, 1)
    assert never["waiting"] == [{"exporter": "file", "version": 9, "domain": 0, "template": 257, "sets": 1}]


def test_what_is_wrong_is_counted_and_told_and_is_no_failure(monkeypatch, tmp_path):
    files = payload_files(tmp_path, [b"\xff\xff rubbish", b"\xff\xff again", *Exporter("v5").packets(FLOWS[:1], T0)])
    told = document(monkeypatch, tmp_path, *files)
    assert (told["totals"]["errors"], told["totals"]["records"]) == (2, 1)
    (problem,) = told["problems"]
    assert problem["problem"].startswith("version 65535;")
    assert problem["count"] == 2


def test_a_capture_that_breaks_off_is_an_error_in_the_totals(monkeypatch, tmp_path):
    packets = Exporter("v5").packets(FLOWS[:1] * 31, T0)
    broken = capture_of(packets, ["192.0.2.1", "192.0.2.2"])[:-3]
    told = document(monkeypatch, tmp_path, written(tmp_path, "x.pcap", broken))
    assert (told["totals"]["records"], told["totals"]["errors"]) == (30, 1)


def test_people_get_totals_and_the_largest_flows(monkeypatch, tmp_path, capsys):
    files = payload_files(tmp_path, Exporter("v9", 7).packets(FLOWS, T0))
    monkeypatch.setenv("COLUMNS", "160")
    assert run(monkeypatch, *files) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["3", "2", "6,500", "6", "0", "0"]
    at = next(number for number, line in enumerate(lines) if line.startswith("Largest flows"))
    assert lines[at + 2].split()[:4] == ["2001:db8::", "2001:db8::2", "5,000", "5"]


def test_flows_go_to_standard_output_when_asked(monkeypatch, tmp_path, capsys):
    files = payload_files(tmp_path, Exporter("v5").packets(FLOWS[:1], T0))
    assert run(monkeypatch, *files, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["totals"]["records"] == 1


def test_files_that_cannot_be_read_are_all_named(monkeypatch, tmp_path, capsys):
    no_capture = written(tmp_path, "no.pcap", b"\0\x05" + bytes(60))
    assert run(monkeypatch, tmp_path / "absent", no_capture, tmp_path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / "absent"), str(no_capture), str(tmp_path)]
    assert "is no capture" in lines[1]


def test_an_answer_that_cannot_be_written_is_bad_input(monkeypatch, tmp_path, capsys):
    files = payload_files(tmp_path, Exporter("v5").packets(FLOWS[:1], T0))
    assert run(monkeypatch, *files, "--json", tmp_path / "no" / "out.json") == 2
    assert "cannot be written" in capsys.readouterr().err
