"""Answers datagrams to port 5353, and accepts connections to port 7000."""
import select
import socket

datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
datagrams.bind(("::", 5353))
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("::", 7000))
listener.listen()
while True:
    for ready in select.select([datagrams, listener], [], [])[0]:
        if ready is listener:
            listener.accept()[0].close()
        else:
            data, sender = datagrams.recvfrom(100)
            datagrams.sendto(data, sender)
