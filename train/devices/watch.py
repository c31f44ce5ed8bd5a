"""Processes of one run watch each other, so that the loss of one ends all within half a minute.

Process 0 listens, the others hold a connection to it, and both sides send a sign of life every few
seconds. A process that is killed closes its connection; a machine that is gone falls silent. Then
process 0 tells the others which one it was. This needs no help from a main thread that waits in a
collective, and none from the accelerator.
"""

import contextlib
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable

LOST = 75  # EX_TEMPFAIL of sysexits.h: start the same command again
_BEAT_SECONDS = 3.0
_SILENCE_SECONDS = 30.0
_CONNECT_SECONDS = 20.0
_GRACE_SECONDS = 0.5  # between the end of a connection and the verdict: it may be a good end
_ALIVE, _LEFT, _GONE = b"a", b"e", b"g"  # signs of one byte; the last one is followed by a process
_TOKEN_BYTES = 16


def lost(what: str) -> None:
    """Ends this process at once, as its collectives will never return."""
    line = (
        f"error: {what}; "
        "the same command, on any number of processes, goes on from the last checkpoint\n"
    )
    sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    os._exit(LOST)


class Sentry:
    """This process's part of the watch."""

    def __init__(self, process: int, processes: int, host: str, share: Callable[[str], str]):
        """Connects to the others.

        Args:
          process: which this is.
          processes: how many there are.
          host: under which the others reach process 0.
          share: gives what process 0 said; the others say nothing.
        """
        self._process, self._processes = process, processes
        self._peers: dict[int, socket.socket] = {}
        self._lock = threading.Lock()  # a process that leaves must not be found lost
        self._leaving = False
        if process == 0:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            listener = socket.create_server(("", 0), family=family, dualstack_ipv6=both)
            listener.settimeout(_CONNECT_SECONDS)
            token = secrets.token_hex(_TOKEN_BYTES)
            where = f"{host} {listener.getsockname()[1]} {token}"
        said = share(where if process == 0 else "").split()
        if process == 0:
            with listener:
                self._accept(listener, bytes.fromhex(token))
        else:
            self._connect(said[0], int(said[1]), bytes.fromhex(said[2]))
        # Who cannot be watched (a firewall) is left to JAX, which takes longer.
        self._listeners = [
            threading.Thread(target=self._listen, args=(peer,), daemon=True) for peer in self._peers
        ]
        for listener in self._listeners:
            listener.start()
        threading.Thread(target=self._beat, daemon=True).start()

    def _accept(self, listener: socket.socket, token: bytes) -> None:
        """Takes in the others; who says nothing, or the wrong thing, keeps none of them waiting."""
        until = time.monotonic() + _CONNECT_SECONDS
        with selectors.DefaultSelector() as waiting:
            waiting.register(listener, selectors.EVENT_READ)
            while len(self._peers) < self._processes - 1 and (left := until - time.monotonic()) > 0:
                for ready, _ in waiting.select(left):
                    with contextlib.suppress(OSError):
                        if ready.fileobj is listener:
                            stranger, _ = listener.accept()
                            stranger.setblocking(False)
                            waiting.register(stranger, selectors.EVENT_READ, bytearray())
                        elif _has_greeted(ready.fileobj, ready.data):
                            waiting.unregister(ready.fileobj)
                            self._admit(ready.fileobj, bytes(ready.data), token)
            for ready in list(waiting.get_map().values()):
                ready.fileobj.close()
        for process in {*range(1, self._processes)} - {*self._peers}:
            print(f"warning: process {process} cannot be watched: it did not connect; that it is "
                  "lost will be noticed later", file=sys.stderr)  # fmt: skip

    def _admit(self, peer: socket.socket, greeting: bytes, token: bytes) -> None:
        said, number = greeting[:_TOKEN_BYTES], int.from_bytes(greeting[_TOKEN_BYTES:], "big")
        if secrets.compare_digest(said, token) and 0 < number < self._processes:
            peer.settimeout(_SILENCE_SECONDS)
            self._peers[number] = peer
        else:
            peer.close()

    def _connect(self, host: str, port: int, token: bytes) -> None:
        try:
            leader = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
            leader.settimeout(_SILENCE_SECONDS)
            leader.sendall(token + self._process.to_bytes(4, "big"))
            self._peers[0] = leader
        except OSError as error:
            print(f"warning: {host}:{port}: {error}; a lost process will be noticed later",
                  file=sys.stderr)  # fmt: skip

    def _beat(self) -> None:
        while not self._leaving:
            self._send(_ALIVE)
            time.sleep(_BEAT_SECONDS)

    def _send(self, sign: bytes) -> None:
        for peer in list(self._peers.values()):
            try:
                peer.sendall(sign)
            except OSError:
                continue  # its listener has noticed, or will

    def _listen(self, peer: int) -> None:
        """Reads the signs of one peer until it leaves or is lost."""
        missing = peer
        while True:
            try:
                sign = _receive(self._peers[peer], 1)
                if sign == _LEFT:
                    return
                if sign == _GONE:
                    missing = int.from_bytes(_receive(self._peers[peer], 4), "big")
                    break
            except OSError:
                break
        if peer != 0:  # which leaves last; and JAX, without it, soon ends us in its own words
            time.sleep(_GRACE_SECONDS)
        with self._lock:
            if self._leaving:
                return
            if self._process == 0:
                self._send(_GONE + missing.to_bytes(4, "big"))
            lost(f"process {missing} of {self._processes} was lost")

    def await_verdict(self, seconds: float = 5.0) -> None:
        """Returns if no process turns out to be lost; otherwise this one ends meanwhile.

        What failed here may have failed because of another process, and the news of it, or the
        loss itself, be a moment late.
        """
        time.sleep(seconds)

    def abandon(self) -> None:
        """Closes the connections, for a process that fails: the others take it for lost at once."""
        with self._lock:
            self._leaving = True
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def await_others(self) -> None:
        """Returns once the others have left, or are gone."""
        for listener in self._listeners:
            listener.join(_SILENCE_SECONDS)

    def leave(self) -> None:
        """Tells the others that this process ends in good order."""
        with self._lock:
            self._leaving = True
        self._send(_LEFT)


def _has_greeted(stranger: socket.socket, said: bytearray) -> bool:
    """Reads on; True once the greeting is whole, or will never be."""
    more = stranger.recv(_TOKEN_BYTES + 4 - len(said))
    said += more
    return not more or len(said) == _TOKEN_BYTES + 4


def _receive(peer: socket.socket, count: int) -> bytes:
    """Reads `count` bytes. Raises OSError at the end of the connection, or if it is silent."""
    received = b""
    while len(received) < count:
        more = peer.recv(count - len(received))
        if not more:
            raise ConnectionResetError
        received += more
    return received
