"""Tells what sockets begin with, of which much is the host's to say, and what their limits are."""

import socket

TCP = ["TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_SYNCNT", "TCP_LINGER2"]
LIMITS = ["SO_RCVBUF", "SO_SNDBUF"]


def tell(what, sock, level, names):
    for name in names:
        print(what, name, sock.getsockopt(level, getattr(socket, name)))


with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
    tell("tcp", stream, socket.IPPROTO_TCP, TCP)
    tell("tcp", stream, socket.IPPROTO_IP, ["IP_TTL"])
    tell("tcp", stream, socket.SOL_SOCKET, ["SO_RCVBUF"])
    stream.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
    stream.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, -1)
    tell("as at first", stream, socket.IPPROTO_IP, ["IP_TTL"])
    for name in LIMITS:
        stream.setsockopt(socket.SOL_SOCKET, getattr(socket, name), 2**31 - 1)
    tell("most", stream, socket.SOL_SOCKET, LIMITS)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
    tell("udp", datagrams, socket.SOL_SOCKET, LIMITS)
with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as six:
    tell("six", six, socket.IPPROTO_IPV6, ["IPV6_V6ONLY"])
    print("six IPV6_AUTOFLOWLABEL", six.getsockopt(socket.IPPROTO_IPV6, 70))
with socket.create_connection(("10.77.0.1", 80)) as connection:
    tell("connected", connection, socket.IPPROTO_TCP, TCP)
    print(connection.recv(100))
