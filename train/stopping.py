"""SIGNALS: what asks a run to stop, and when it ends at once because there is nothing to save.

SIGINT (Ctrl-C), SIGTERM and SIGHUP all ask a run to save and stop. From its first step on a run
polls `asked` between steps. Before that, and after its last step is on disk, there is nothing to
save, and the process ends at once, as if killed: whatever is written is written elsewhere first and
renamed. So it does at a second Ctrl-C, with what the last checkpoint has.

SIGHUP comes when a terminal is closed. Where it is ignored, as under nohup, it stays ignored.

Once several processes have joined, SIGTERM is JAX's, which stops all of them at one step, after the
first (`hosts.asked_to_stop`); the other two ask for the same there.
"""

import contextlib
import os
import signal
import socket
import threading

INTERRUPTED, AGAIN = 130, 75  # 128 + SIGINT, as shells have it; EX_TEMPFAIL of sysexits.h
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Requests:
    """The signals that came. To be made once, in the main thread.

    Python runs handlers in the main thread between two of its own instructions, so not during a
    compilation; and what they raise can come out anywhere. But its handler in C writes every signal
    to a socket, and there a thread of ours reads it.
    """

    def __init__(self, workdir: str):
        """Listens from now on; lines on standard error name the workdir."""
        self._workdir = workdir
        self._lock = threading.Lock()
        self._asked: list[int] = []
        self._unsaved = False
        read, self._write = socket.socketpair()
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
        threading.Thread(target=self._listen, args=(read,), daemon=True).start()

    def asked(self) -> bool:
        """Whether to save and stop. Who asks has something to save from now on."""
        with self._lock:
            self._unsaved = True
            return bool(self._asked)

    def all_saved(self) -> None:
        """Nothing is left to save: from now on a signal ends the process at once."""
        with self._lock:
            self._unsaved = False
            if self._asked:  # since the last step was taken
                self._end("stopped; all steps are saved, the same command goes on")

    def exit_code(self) -> int:
        """Of a process that was stopped."""
        return INTERRUPTED if signal.SIGINT in self._asked else AGAIN

    def _listen(self, read: socket.socket) -> None:
        while True:
            for number in read.recv(64):
                if number in _SIGNALS:
                    with self._lock:
                        self._hear(number)

    def _hear(self, number: int) -> None:
        again = number == signal.SIGINT and number in self._asked
        self._asked.append(number)
        if not self._unsaved:
            self._end("stopped; nothing is lost, the same command goes on")
        elif again:
            self._end("stopped without saving; the same command goes on from the last checkpoint")
        else:
            self._say("saves after this step and stops (Ctrl-C again: at once, without saving)")

    def _end(self, text: str) -> None:
        self._say(text)
        os._exit(self.exit_code())

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            beside = "\n" if os.isatty(2) else ""  # of a progress bar
            os.write(2, f"{beside}{self._workdir}: {text}\n".encode())
