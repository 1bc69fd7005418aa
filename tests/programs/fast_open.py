"""Fast Open (RFC 7413): serve HOST PORT QUEUE answers each connection; ask HOST PORT sendto|connect opens three, and
tells of each whether the data of its SYN was taken (TCPI_OPT_SYN_DATA)."""
import socket
import struct
import sys

TCP_INFO, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = 11, 23, 30
MSG_FASTOPEN, SYN_DATA = 0x20000000, 32


def serve(host, port, queue):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    if queue:
        listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, queue)
    listener.listen(16)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(100).upper())


def ask(host, port, how):
    for _ in range(3):
        with socket.socket() as s:
            # A time limit of Python would make it non-blocking: then a SYN without a cookie carries nothing.
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0))
            if how == "connect":
                s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
                s.connect((host, port))
                s.sendall(b"hello")
            else:
                s.sendto(b"hello", MSG_FASTOPEN, (host, port))
            answer = s.recv(100)
            options = s.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 8)[5]
            assert s.recv(100) == b""
            print(answer.decode(), int(options & SYN_DATA != 0))


host, port, last = sys.argv[2], int(sys.argv[3]), sys.argv[4]
serve(host, port, int(last)) if sys.argv[1] == "serve" else ask(host, port, last)
