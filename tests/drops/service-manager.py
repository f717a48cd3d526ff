"""Keeps a listening socket and starts a program on it, as a service manager does (`sd_listen_fds(3)`).

    service-manager.py PROGRAM

Prints its port. For each line on its input, it starts the program and prints `started` with the process id, and later
`ended` with the status. It ends the program and itself at the end of its input.
"""

import os
import socket
import subprocess
import sys
import threading

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
# The program expects it at this number.
os.dup2(listener.fileno(), 3)


def report(*words):
    print(*words, flush=True)


def watch(process):
    report("ended", process.wait())


report("port", listener.getsockname()[1])
for _ in sys.stdin:
    # LISTEN_PID must be the id of the process that becomes the program.
    script = 'exec env LISTEN_FDS=1 LISTEN_PID=$$ "$0"'
    command = ["sh", "-c", script, sys.argv[1]]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[3])
    report("started", process.pid)
    threading.Thread(target=watch, args=[process]).start()
process.kill()
