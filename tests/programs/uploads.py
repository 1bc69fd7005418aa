"""Takes files by PUT, and answers their SHA-256."""
import hashlib
import http.server
import sys


class Sums(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        left, sum_ = int(self.headers["Content-Length"]), hashlib.sha256()
        while left > 0 and (part := self.rfile.read(min(left, 65536))):
            sum_.update(part)
            left -= len(part)
        said = (sum_.hexdigest() + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer((sys.argv[1], 80), Sums).serve_forever()
