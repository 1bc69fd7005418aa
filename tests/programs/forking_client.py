"""Connections at once, each of which talks, over and over; then datagrams from many sockets: ADDRESS PORT."""
import socket
import sys
import threading

PLACE = (sys.argv[1], int(sys.argv[2]))
CALLERS, CALLS, LINES = 24, 12, 8
good = []


def call(n):
    for i in range(CALLS):
        with socket.create_connection(PLACE, timeout=60) as stream:
            lines = stream.makefile("rb")
            for k in range(LINES):
                said = b"caller %d call %d line %d " % (n, i, k) + b"x" * (k * 997) + b"\n"
                stream.sendall(said)
                assert lines.readline() == said.upper()
            stream.shutdown(socket.SHUT_WR)
            assert lines.read() == b""
        good.append(n)


def ask(n):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(PLACE)
        asking.settimeout(1)
        for i in range(100):
            said = b"asker %d question %d" % (n, i)
            # A datagram may be lost: it is asked again.
            for _ in range(60):
                asking.send(said)
                try:
                    while asking.recv(2048) != said.upper():
                        pass
                    good.append(n)
                    break
                except TimeoutError:
                    pass


for run in (call, ask):
    threads = [threading.Thread(target=run, args=(n,)) for n in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(run.__name__, len(good))
