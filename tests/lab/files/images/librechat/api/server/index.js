// A stand-in for LibreChat: it reads the same environment and the same librechat.yaml, and fails where the real one does.
'use strict';
const fs = require('fs');
const http = require('http');
const yaml = require('js-yaml');
const { MongoClient } = require('mongodb');

function end(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

function hex(name, digits) {
  const value = process.env[name] || '';
  // Blank, the real one makes one up that is lost with the container; a lab must notice.
  if (!new RegExp(`^[0-9a-f]{${digits}}$`, 'i').test(value)) end(`${name} must be ${digits} hexadecimal digits`);
}

function long(name) {
  if (Buffer.byteLength(process.env[name] || '') < 32) end(`${name} must have 32 bytes or more`);
}

// "${NAME}" stands for a variable of the environment.
function interpolated(value, where) {
  return String(value).replace(/\$\{(\w+)\}/g, (_, name) => process.env[name] || end(`${where}: ${name} is not set`));
}

function endpoint(each, index) {
  const where = `Invalid custom config file at /app/librechat.yaml: endpoints.custom.${index}`;
  for (const key of ['name', 'apiKey', 'baseURL']) if (typeof each[key] !== 'string' || !each[key]) end(`${where}.${key}: Required`);
  const models = (each.models || {}).default;
  if (!Array.isArray(models) || !models.length) end(`${where}.models.default: at least one`);
  interpolated(each.apiKey, where);
  new URL(interpolated(each.baseURL, where));
}

function configuration() {
  const path = process.env.CONFIG_PATH || '/app/librechat.yaml';
  if (!fs.existsSync(path)) return;
  let found;
  try {
    found = yaml.load(fs.readFileSync(path, 'utf8'));
  } catch (error) {
    end(`Invalid custom config file at ${path}: ${error.message}`);
  }
  if (!found || typeof found.version !== 'string') end(`Invalid custom config file at ${path}: version: Required`);
  ((found.endpoints || {}).custom || []).forEach(endpoint);
}

async function main() {
  hex('CREDS_KEY', 64);
  hex('CREDS_IV', 32);
  long('JWT_SECRET');
  long('JWT_REFRESH_SECRET');
  if (!process.env.MONGO_URI) end('Please define the MONGO_URI environment variable');
  const client = new MongoClient(process.env.MONGO_URI, { serverSelectionTimeoutMS: 30000 });
  await client.connect();
  // Lazy until the first command: this one wants the login and its rights.
  const starts = client.db().collection('starts');
  await starts.insertOne({ at: new Date() });
  console.info(`info: Connected to MongoDB, start ${await starts.countDocuments({})}`);
  configuration();
  // As the real one keeps uploads and pictures.
  for (const folder of ['/app/uploads', '/app/client/public/images']) fs.writeFileSync(`${folder}/.writable`, '');
  const server = http.createServer((request, response) => {
    const path = request.url.split('?')[0];
    if (path === '/health') return response.writeHead(200).end('OK');
    if (path === '/api/auth/register' && process.env.ALLOW_REGISTRATION !== 'true') {
      return response.writeHead(403, { 'Content-Type': 'application/json' }).end('{"message":"Registration is not allowed."}');
    }
    if (path.startsWith('/api/')) return response.writeHead(401).end('Unauthorized');
    return response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>LibreChat</title>');
  });
  const host = process.env.HOST || 'localhost';
  server.listen(Number(process.env.PORT || 3080), host, () => console.info(`info: Server listening on ${host}`));
}

main().catch((error) => end(error.message));
