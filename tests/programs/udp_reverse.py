"""Answers each datagram with its bytes in reverse order: ADDRESS PORT."""
import socket
import sys

datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind((sys.argv[1], int(sys.argv[2])))
print("up", flush=True)
while True:
    data, name = datagrams.recvfrom(2048)
    datagrams.sendto(data[::-1], name)
