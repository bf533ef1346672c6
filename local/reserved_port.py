"""A port that is kept for a process which starts later."""

from __future__ import annotations

import socket
import sys

HOST = "127.0.0.1"
# With SO_REUSEADDR on both, Linux lets a process listen on a port that another socket has bound without listening. So the
# reservation stays while the process starts, runs and stops, and no other process of this machine gets the port meanwhile.
LISTENS_BESIDE_RESERVATION = sys.platform == "linux"


class ReservedPort:
    """A loopback port (0: a free one) that no other process of this machine is given, until it is released."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self._socket: socket.socket | None = None
        self.reserve()

    def reserve(self) -> None:
        """Reserve the port again: it is the same one after a restart. Raises OSError while a process listens on it."""
        taken = socket.socket()
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((HOST, self.number))
        except OSError:
            taken.close()
            raise
        self.release()  # after the new one is bound: the port is never free
        self._socket = taken
        self.number = taken.getsockname()[1]

    def release(self) -> None:
        """Free the port."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
