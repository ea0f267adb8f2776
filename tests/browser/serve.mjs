// A folder served on localhost as an ordinary static host does: compressed, and kept for ten minutes by who fetched it.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";

const TYPES = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
  ".json": "application/json", ".svg": "image/svg+xml", ".xml": "application/xml", ".txt": "text/plain; charset=utf-8",
  ".png": "image/png", ".webp": "image/webp", ".woff2": "font/woff2", ".ipynb": "application/json",
};
const TEXT = /^text|json|xml|javascript/;

// Resolves to { origin, close, bytes }: bytes(url) is what one answer weighs, its headers left out.
export async function serve(folder) {
  const kept = new Map();
  async function answer(url) {
    const path = decodeURIComponent(new URL(url, "http://localhost").pathname);
    const name = path.endsWith("/") ? `${path}index.html` : path;
    if (!kept.has(name)) {
      const type = TYPES[extname(name)] ?? "application/octet-stream";
      const plain = await readFile(join(folder, name));
      kept.set(name, { type, body: TEXT.test(type) ? gzipSync(plain) : plain, packed: TEXT.test(type) });
    }
    return kept.get(name);
  }
  const server = createServer(async (request, response) => {
    try {
      const { type, body, packed } = await answer(request.url);
      const headers = { "content-type": type, "content-length": body.length, "cache-control": "max-age=600" };
      response.writeHead(200, packed ? { ...headers, "content-encoding": "gzip" } : headers).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const bytes = async (url) => (await answer(url)).body.length;
  return { origin: `http://127.0.0.1:${server.address().port}/`, close: () => server.close(), bytes };
}
