"""A process for each connection, a thread for each datagram: ADDRESS PORT."""
import socketserver
import sys
import threading


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        data, back = self.request
        back.sendto(data.upper(), self.client_address)


class Forking(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    max_children = 64


place = (sys.argv[1], int(sys.argv[2]))
datagrams = socketserver.ThreadingUDPServer(place, Datagram)
threading.Thread(target=datagrams.serve_forever, daemon=True).start()
Forking(place, Lines).serve_forever()
