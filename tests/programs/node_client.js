// Fetches a URL ten times over connections that are kept, and prints the sums, each once: URL.
const crypto = require('crypto');
const http = require('http');

const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const fetch = () => new Promise((done, failed) => {
  http.get(process.argv[2], { agent }, (response) => {
    const sum = crypto.createHash('sha256');
    response.on('data', (data) => sum.update(data));
    response.on('end', () => done(sum.digest('hex')));
  }).on('error', failed);
});
Promise.all(Array.from({ length: 10 }, fetch)).then((sums) => {
  console.log([...new Set(sums)].join(' '));
  agent.destroy();
});
