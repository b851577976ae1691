"""What a bench of proxies tells of its rounds."""

import asyncio
from xml.etree import ElementTree as ET

import pytest

from load_tests.bench._figures import svg
from load_tests.bench.peers import report
from load_tests.bench.peers.cases import CASES
from load_tests.bench.peers.load import Closed
from load_tests.bench.peers.report import Round
from tests.stands.memory_wire import Loop, Pipe

TAKEN = {
    "domicile": [Round(200, 1000), Round(300, 900), Round(1000, 10)],
    "nginx": [Round(100, 4000), Round(100, 4100), Round(500, 50)],
    "Caddy": [],
}


def test_each_round_is_set_beside_its_neighbour() -> None:
    ours, nginx = report.rows(TAKEN)
    assert (ours.proxy, ours.cpu_us, ours.cpu_us_low, ours.cpu_us_high, ours.per_s) == ("domicile", 300, 200, 1000, 900)
    assert ours.ratio == 2.0  # of 2, 3 and 2
    assert nginx.ratio == 1.0


def test_without_nginx_there_is_no_ratio() -> None:
    (ours,) = report.rows({"domicile": TAKEN["domicile"]})
    assert ours.ratio is None
    assert "domicile" in report.table("alone", [ours])


def test_the_plot_names_every_proxy_shortest_first() -> None:
    drawn = ET.fromstring(svg(report.cpu(CASES[0], TAKEN)))
    words = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert words[:2] == [f"CPU time a request: {CASES[0].headline}", "nginx"]
    widths = [float(one.attrib["width"]) for one in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths == sorted(widths)


def test_what_is_kept_has_every_round_of_what_ran() -> None:
    cpu, speed = report.cpu(CASES[0], TAKEN), report.speed(CASES[0], TAKEN)
    assert {one.name: one.rounds for one in cpu.rows} == {"domicile": (200, 300, 1000), "nginx": (100, 100, 500)}
    assert {one.name: one.median for one in speed.rows} == {"domicile": 900, "nginx": 4000}
    assert {one.name: one.ratio for one in cpu.rows} == {"domicile": 2.0, "nginx": 1.0}
    assert report.cpu(CASES[0], {"domicile": TAKEN["domicile"]}).base is None


def test_requests_state_their_bodies_as_they_are() -> None:
    for case in CASES:
        head, _, body = case.request("t").partition(b"\r\n\r\n")
        assert len(body) == case.body
        assert (f"Content-Length: {case.body}".encode() in head) == bool(case.body)
        assert head.endswith(b"Bearer t") or case.body


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (HEAD + b"\r\nfour", "nothing left"),
        (HEAD + b"Connection: close\r\n\r\nfour", "another"),
        (HEAD + b"\r\nfo", "closed a connection under way, 2 bytes into the body of answer 1"),
        (HEAD.replace(b"200", b"502") + b"\r\nfour", "answered 502 with 4 bytes"),
        (HEAD.replace(b"4", b"3") + b"\r\nfou", "answered 200 with 3 bytes"),
    ],
)
def test_the_last_answer_of_a_connection_is_told_from_one_that_breaks_off(said: bytes, outcome: str) -> None:
    loop = Loop()
    done: asyncio.Future[bool] = loop.create_future()
    asking = Closed(iter([b"GET / HTTP/1.1\r\n\r\n"]), 4, [1], done)
    pipe = Pipe(asking, loop)
    asking.connection_made(pipe)
    asking.data_received(said)
    asking.eof_received()
    asking.connection_lost(None)
    failure = done.exception()
    assert outcome == (str(failure) if failure is not None else "nothing left" if done.result() else "another")
    loop.close()
