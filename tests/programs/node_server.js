// What is posted is summed up; what is asked for is as long as the path says: ADDRESS PORT.
const crypto = require('crypto');
const http = require('http');

http.createServer((request, response) => {
  const sum = crypto.createHash('sha256');
  request.on('data', (data) => sum.update(data));
  request.on('end', () => {
    response.setHeader('x-sum', sum.digest('hex'));
    response.end('x'.repeat(Number(request.url.slice(1))));
  });
}).listen(Number(process.argv[3]), process.argv[2]);
