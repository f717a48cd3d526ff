"""Keeps a listening socket and starts a program on it, as a service manager does (`sd_listen_fds(3)`).

    service-manager.py PROGRAM

Says its port. Then, for each line on its input, it starts the program and says `started` and its process id, and later
`ended` and the status. With the end of its input all ends.
"""

import os
import socket
import subprocess
import sys
import threading

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
# That is where the program looks for it.
os.dup2(listener.fileno(), 3)


def say(*words):
    print(*words, flush=True)


def watch(process):
    say("ended", process.wait())


say("port", listener.getsockname()[1])
for _ in sys.stdin:
    # The process that is to have the socket must be named before it is the program.
    script = 'exec env LISTEN_FDS=1 LISTEN_PID=$$ "$0"'
    command = ["sh", "-c", script, sys.argv[1]]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=[3])
    say("started", process.pid)
    threading.Thread(target=watch, args=[process]).start()
process.kill()
