"""Sixteen connections set and get, then datagrams get: ADDRESS PORT."""
import socket
import struct
import sys
import threading

PLACE = (sys.argv[1], int(sys.argv[2]))
good = []


def value(n, i):
    return b"%d of %d " % (i, n) * 40


def use(n):
    stream = socket.create_connection(PLACE)
    lines = stream.makefile("rb")
    for i in range(100):
        data = value(n, i)
        stream.sendall(b"set key-%d-%d 0 0 %d\r\n%s\r\n" % (n, i, len(data), data))
        assert lines.readline() == b"STORED\r\n"
        stream.sendall(b"get key-%d-%d\r\n" % (n, i))
        assert lines.readline().split()[0] == b"VALUE"
        assert lines.read(len(data) + 2) == data + b"\r\n"
        assert lines.readline() == b"END\r\n"
    stream.sendall(b"quit\r\n")
    assert lines.read() == b""
    good.append(n)


threads = [threading.Thread(target=use, args=(n,)) for n in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.connect(PLACE)
datagrams.settimeout(60)
for i in range(50):
    # Request, number of the datagram, how many, reserved; then as on a stream.
    datagrams.send(struct.pack("!HHHH", i, 0, 1, 0) + b"get key-3-%d\r\n" % i)
    answer = datagrams.recv(65536)
    assert struct.unpack("!HHHH", answer[:8]) == (i, 0, 1, 0)
    assert value(3, i) in answer
print(sorted(good) == list(range(16)))
