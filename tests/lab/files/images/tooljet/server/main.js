// A stand-in for ToolJet: it reads the same environment, and fails where the real one does.
'use strict';
const crypto = require('crypto');
const http = require('http');
const { Pool } = require('pg');
const { WebSocketServer } = require('ws');
const database = require('./database');

function hex(name, digits) {
  if (!new RegExp(`^[0-9a-f]{${digits}}$`, 'i').test(process.env[name] || '')) {
    throw new Error(`${name} must be ${digits} hexadecimal digits`);
  }
}

async function main() {
  const host = new URL(process.env.TOOLJET_HOST);
  hex('LOCKBOX_MASTER_KEY', 64);
  hex('SECRET_KEY_BASE', 128);
  // What its columns are encrypted with.
  crypto.createCipheriv('aes-256-gcm', Buffer.from(process.env.LOCKBOX_MASTER_KEY, 'hex'), crypto.randomBytes(12));
  const pool = new Pool(database());
  pool.on('error', (error) => console.error(error.message));
  await pool.query('SELECT name FROM migrations');
  const server = http.createServer(async (request, response) => {
    const path = request.url.split('?')[0];
    const json = (status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    if (path === '/api/health' || path === '/health') return json(200, { works: 'yeah' });
    if (path === '/api/signup') return json(process.env.DISABLE_SIGNUPS === 'true' ? 403 : 201, {});
    if (path.startsWith('/api/')) return json(401, { statusCode: 401, message: 'Unauthorized' });
    if (process.env.SERVE_CLIENT === 'false') return json(404, { statusCode: 404 });
    return response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>ToolJet</title>');
  });
  new WebSocketServer({ server, path: '/ws' }).on('connection', (socket) => {
    socket.on('message', (message) => socket.send(String(message)));
  });
  const address = process.env.LISTEN_ADDR || '::';
  const port = Number(process.env.PORT || 3000);
  server.listen(port, address, () => console.log(`Ready to use at ${host.origin}, port ${port}`));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
