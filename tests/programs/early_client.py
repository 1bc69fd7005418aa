"""Connects before the server waits: the kernel's listener has the connection, and it must live once the stack listens."""
import select
import socket
import sys

family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family) as server, socket.socket(family) as early:
    server.bind((sys.argv[1], 0))
    server.listen()
    early.settimeout(60)
    early.connect(server.getsockname())
    # From here on the listener is the stack's; what comes now is, too.
    select.select([server], [], [], 0)
    with socket.socket(family) as late:
        late.settimeout(60)
        late.connect(server.getsockname())
        server.settimeout(60)
        for _ in range(2):
            accepted, peer = server.accept()
            with accepted:
                client = early if peer == early.getsockname() else late
                client.sendall(b"a question" * 5000)
                heard = 0
                while heard < 50000:
                    heard += len(accepted.recv(65536))
                accepted.sendall(b"an answer")
                print(client.recv(100), heard)
