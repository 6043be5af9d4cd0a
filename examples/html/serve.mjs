// A static file server in a few lines; any other does as well. OPFS wants https, or localhost.
import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));
const types = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

const server = createServer(({ url }, response) => {
  const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname));
  const file = createReadStream(join(root, path.endsWith('/') ? `${path}index.html` : path));
  file.on('error', () => response.writeHead(404).end());
  file.on('open', () => file.pipe(response.writeHead(200, { 'Content-Type': types[extname(file.path)] ?? 'text/plain' })));
});
server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
