"""A server that gives each connection a process of its own, and its client, both in one process."""
import socket
import socketserver
import threading


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


server = socketserver.ForkingTCPServer(("127.0.0.1", 0), Echo)
threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
for n in range(5):
    with socket.create_connection(server.server_address, timeout=10) as client:
        client.sendall(b"hello %d\n" % n)
        print(client.recv(100), client.recv(100))
server.shutdown()
server.server_close()
