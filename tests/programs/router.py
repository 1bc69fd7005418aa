"""Advertises itself as a router without routes: IFACE HOPS MTU. Sends until the host HOST answers datagrams to port 5353
with that hop limit, and prints the limit and the segment size that a connection to its port 7000 is offered."""
import socket
import struct
import sys

iface, hops, mtu, host = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
icmp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, iface.encode())
icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
# Type 134; hop limit, no flags, no lifetime as a router; option 5: the link's MTU (RFC 4861 4.2, 4.6.4).
advertisement = struct.pack("!BBHBBHII", 134, 0, 0, hops, 0, 0, 0, 0) + struct.pack("!BBHI", 5, 1, 0, mtu)
asking = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
asking.settimeout(0.2)
heard = None
for _ in range(50):
    icmp.sendto(advertisement, ("ff02::1", 0, 0, socket.if_nametoindex(iface)))
    asking.sendto(b"?", (host, 5353))
    try:
        _, control, _, _ = asking.recvmsg(10, 100)
    except TimeoutError:
        continue
    heard = struct.unpack("i", control[0][2])[0]
    if heard == hops:
        break
with socket.create_connection((host, 7000)) as connection:
    print(heard, connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
