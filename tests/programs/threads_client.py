"""Twenty threads, each asking for a hundred lines in capital letters: ADDRESS PORT."""
import socket
import sys
import threading

good = []


def ask(n):
    stream = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    lines = stream.makefile("rwb")
    for i in range(100):
        lines.write(b"line %d of %d\n" % (i, n))
        lines.flush()
        assert lines.readline() == b"LINE %d OF %d\n" % (i, n)
    stream.shutdown(socket.SHUT_WR)
    assert lines.read() == b""
    good.append(n)


threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(good) == list(range(20)))
