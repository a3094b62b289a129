"""What stands in a stream beside its events, byte by byte as the service writes it."""

from __future__ import annotations

import socket
import threading

from espo_client.stream import follow
from espo_client.transport import Transport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
EVENT = 'id: {id}\nevent: log\ndata: {{"id":"{id}","type":"log","time":1.0,"data":{{"message":"é"}}}}\n\n'
END = b'event: end\ndata: {"status":"succeeded"}\n\n'


def event(number: int) -> bytes:
    return EVENT.format(id=number).encode()


class Script:
    """Answers one connection after the other with the given bytes, then closes it."""

    def __init__(self, *answers: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[str] = []
        self._thread = threading.Thread(target=self._serve, args=(answers,))
        self._thread.start()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        for answer in answers:
            connection, _ = self._listener.accept()
            with connection:
                self.requests.append(connection.recv(65_536).decode())
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._thread.join(timeout=10)
        self._listener.close()


def read(script: Script) -> list[int]:
    transport = Transport(base_url=script.base_url, api_key="espo_x")
    try:
        return [event.id for event in follow(transport, "job-1", after=0, types=[])]
    finally:
        transport.close()
        script.close()


def test_heartbeats_are_no_events() -> None:
    heartbeat = b": keepalive\n\n"
    assert read(Script(HEAD + heartbeat + event(1) + heartbeat * 3 + event(2) + heartbeat + END)) == [1, 2]


def test_an_event_cut_in_half_is_asked_for_again() -> None:
    script = Script(HEAD + event(1) + event(2)[:-20], HEAD + event(2) + END)
    assert read(script) == [1, 2]
    assert "last-event-id: 0" in script.requests[0].lower()
    assert "last-event-id: 1" in script.requests[1].lower()


def test_something_that_cannot_stream_is_polled() -> None:
    page = b'{"data":[{"id":"%d","type":"log","time":1.0,"data":{}}],"has_more":false,"last_id":"%d"}'
    job = b'{"id":"job-1","name":"n","status":"%s","created_at":1.0}'

    def answer(body: bytes) -> bytes:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: "
        return head + str(len(body)).encode() + b"\r\n\r\n" + body

    script = Script(
        answer(b"{}"),
        answer(job % b"running"),
        answer(page % (1, 1)),
        answer(job % b"succeeded"),
        answer(page % (2, 2)),
    )
    assert read(script) == [1, 2]
    assert "after=1" in script.requests[-1]
