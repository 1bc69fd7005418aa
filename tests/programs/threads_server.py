"""A thread a connection, lines in capital letters: ADDRESS PORT."""
import socketserver
import sys


class Capitals(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


Server((sys.argv[1], int(sys.argv[2])), Capitals).serve_forever()
