"""Twenty sockets, a datagram and its answer each: ADDRESS PORT."""
import socket
import sys

good = 0
for n in range(20):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.connect((sys.argv[1], int(sys.argv[2])))
    datagrams.settimeout(60)
    datagrams.send(b"datagram %d" % n)
    good += datagrams.recv(2048) == (b"datagram %d" % n)[::-1]
print(good)
