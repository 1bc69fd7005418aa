// Four workers behind one listener of their master's, which hands each connection to one of them over a Unix socket:
// ADDRESS PORT. What is asked for is as long as the path says; who answers says so.
const cluster = require('cluster');
const http = require('http');

if (cluster.isPrimary) {
  for (let n = 0; n < 4; n++) cluster.fork();
  // Who is killed has a successor.
  cluster.on('exit', () => cluster.fork());
} else {
  http.createServer((request, response) => {
    response.setHeader('x-worker', process.pid);
    response.end('x'.repeat(Number(request.url.slice(1))));
  }).listen(Number(process.argv[3]), process.argv[2]);
}
