"""UDP as fast as Python goes: many packets a system call (recvmmsg, sendmmsg), answered one after the other.

Linux on a 64-bit machine.  Elsewhere, and in a process with other work to do, `nameserver` serves UDP with asyncio.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import time
from collections.abc import Callable, Sequence

from moonbow.director.desk import Desk

BATCH = 64
QUERY_BYTES_MAX = 4_096
REPLY_BYTES_MAX = 1_232
NAME_BYTES = 28  # a socket address of either family
WAIT_MS = 250

_LIBC = ctypes.CDLL(None, use_errno=True)


class _Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("pieces", ctypes.POINTER(_Piece)),
        ("pieces_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    _fields_ = [("header", _Header), ("size", ctypes.c_uint32)]


_WORDS = ctypes.sizeof(_Message) // 4
_SIZE_AT = _Message.size.offset // 4
_NAME_SIZE_AT = _Header.name_size.offset // 4
_PIECE_SIZE_AT = _Piece.size.offset // 8


class _Batch:
    """Room for `BATCH` packets and their addresses, as the kernel wants it laid out."""

    def __init__(self, bytes_max: int) -> None:
        self.each = bytes_max
        self.data = bytearray(BATCH * bytes_max)
        self.names = bytearray(BATCH * NAME_BYTES)
        self.pieces = (_Piece * BATCH)()
        self.messages = (_Message * BATCH)()
        data = ctypes.addressof(ctypes.c_char.from_buffer(self.data))
        names = ctypes.addressof(ctypes.c_char.from_buffer(self.names))
        for at, (piece, message) in enumerate(zip(self.pieces, self.messages, strict=True)):
            piece.base, piece.size = data + at * bytes_max, bytes_max
            header = message.header
            header.name, header.name_size = names + at * NAME_BYTES, NAME_BYTES
            header.pieces, header.pieces_count = ctypes.pointer(piece), 1
        self.words = memoryview(self.messages).cast("B").cast("I")
        self.piece_words = memoryview(self.pieces).cast("B").cast("Q")


class Datagrams:
    """Answers UDP on sockets that are already bound, until `stop`.  Call `run` in a thread of its own."""

    def __init__(self, sockets: Sequence[socket.socket], desk: Desk, on_second: Callable[[float], None]) -> None:
        self._sockets = sockets
        self._desk = desk
        self._on_second = on_second
        self._in = _Batch(QUERY_BYTES_MAX)
        self._out = _Batch(REPLY_BYTES_MAX)
        self._stopped = False

    def stop(self) -> None:
        """End `run` within `WAIT_MS`."""
        self._stopped = True

    def run(self) -> None:
        """Serve.  The desk's clock ticks here.  Sockets may be closed once `stop` has been called."""
        try:
            self._run()
        except OSError:
            if not self._stopped:
                raise

    def _run(self) -> None:
        poll = select.poll()
        families = {sock.fileno(): sock.family == socket.AF_INET6 for sock in self._sockets}
        for number in families:
            poll.register(number, select.POLLIN)
        ticked = time.monotonic()
        while not self._stopped:
            for number, _ in poll.poll(WAIT_MS):
                while self._serve(number, families[number]) == BATCH:
                    if time.monotonic() - ticked >= 1:
                        break
            if (now := time.monotonic()) - ticked >= 1:
                ticked = now
                self._on_second(time.time())

    def _serve(self, number: int, six: bool) -> int:
        """Receive what waits, up to a batch, and send the replies; how many packets there were."""
        received, out = self._in, self._out
        words, data, names, each = received.words, received.data, received.names, received.each
        count: int = _LIBC.recvmmsg(number, received.messages, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            _expect(errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED)
            return 0
        handle, sizes, replies, to = self._desk.handle, out.piece_words, out.data, out.names
        ip, ip_end, name_end = (8, 24, 28) if six else (4, 8, 16)
        sent, start, name_start, at, reply_at, size_at = 0, 0, 0, 0, 0, _SIZE_AT
        for _ in range(count):
            name = bytes(names[name_start : name_start + name_end])
            reply = handle(bytes(data[start : start + words[size_at]]), name[ip:ip_end])
            if reply is not None and name[2:4] != b"\0\0":
                size = len(reply)
                replies[reply_at : reply_at + size] = reply
                to[at : at + name_end] = name
                sizes[sent * 2 + _PIECE_SIZE_AT] = size
                sent += 1
                reply_at += REPLY_BYTES_MAX
                at += NAME_BYTES
            words[size_at - _SIZE_AT + _NAME_SIZE_AT] = NAME_BYTES
            start += each
            name_start += NAME_BYTES
            size_at += _WORDS
        if sent:
            self._send(number, sent, name_end)
        self._desk.limiter.trim()
        return count

    def _send(self, number: int, count: int, name_size: int) -> None:
        """Send the first `count` replies.  What the kernel refuses is lost, as datagrams may be."""
        words, done = self._out.words, 0
        if words[_NAME_SIZE_AT] != name_size:
            for at in range(BATCH):
                words[at * _WORDS + _NAME_SIZE_AT] = name_size
        while done < count:
            place = ctypes.byref(self._out.messages, done * ctypes.sizeof(_Message))
            went: int = _LIBC.sendmmsg(number, place, count - done, 0)
            if went <= 0:
                _expect(errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED, errno.ENOBUFS, errno.EPERM, errno.EINVAL,
                        errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EMSGSIZE)  # fmt: skip
                went = 1
            done += went


def _expect(*usual: int) -> None:
    number = ctypes.get_errno()
    if number not in usual:
        raise OSError(number, os.strerror(number))
