"""Messages over a socket: a JSON text and the bytes of tensors, with a limit on their size."""

from __future__ import annotations

import json
import socket
import struct

LIMIT = 256 * 2**20  # bytes of one message
TEXT = 16 * 2**20  # of them, those of its text, which takes many times as much once it is read
HEAD = struct.Struct("<II")


class Gone(BaseException):
    """The other process has ended, or sends what is no message. No check's ``except Exception`` may catch this."""


class Wire:
    """One end of a socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, message: dict, buffers: list[bytes]) -> None:
        """Send one message; Gone if nobody is there, ValueError if it is too large."""
        text = json.dumps([message, [len(b) for b in buffers]]).encode()
        size = sum(map(len, buffers))
        if len(text) > TEXT or len(text) + size > LIMIT:
            raise ValueError(f"a value of {(len(text) + size) / 2**20:.0f} MiB is too large to hand over.")
        try:
            self.sock.sendall(b"".join([HEAD.pack(len(text), size), text, *buffers]))
        except OSError as error:
            raise Gone("the process has ended") from error

    def receive(self) -> tuple[dict, list[bytes]]:
        """Wait for the next message; Gone if there is none or it is garbled."""
        length, size = HEAD.unpack(self.read(HEAD.size))
        if length > TEXT or length + size > LIMIT:
            raise Gone("the process sent a message that is too large")
        text, rest = self.read(length), memoryview(self.read(size))
        try:
            message, lengths = json.loads(text)
            buffers, start = [], 0
            for n in lengths:
                if not isinstance(n, int) or n < 0 or start + n > size:
                    raise ValueError(n)
                buffers.append(rest[start : start + n])
                start += n
            if not isinstance(message, dict):
                raise TypeError(type(message))
        except (ValueError, TypeError, RecursionError) as error:
            raise Gone("the process sent what is no message") from error
        return message, buffers

    def read(self, count: int) -> bytearray:
        """Exactly so many bytes."""
        data = bytearray(count)
        view, have = memoryview(data), 0
        while have < count:
            try:
                got = self.sock.recv_into(view[have:], min(count - have, 2**20))
            except OSError as error:
                raise Gone("the process has ended") from error
            if not got:
                raise Gone("the process has ended")
            have += got
        return data
