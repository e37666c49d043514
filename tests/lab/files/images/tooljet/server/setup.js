// Stands in for ToolJet's database set-up: `createdb` where it may, then its tables.
'use strict';
const { execFileSync } = require('child_process');
const { Client } = require('pg');
const database = require('./database');

async function main() {
  if (process.env.PG_DB_OWNER !== 'false') {
    try {
      const { PG_HOST, PG_PORT, PG_USER, PG_DB, PG_PASS } = process.env;
      execFileSync('createdb', ['-h', PG_HOST, '-p', PG_PORT || '5432', '-U', PG_USER, PG_DB], {
        env: { ...process.env, PGPASSWORD: PG_PASS }, stdio: ['ignore', 'inherit', 'pipe'],
      });
    } catch (error) {
      const said = String(error.stderr);
      // A role that may create databases hears "already exists"; any other, "permission denied".
      if (!said.includes('already exists')) throw new Error(said);
    }
  }
  const client = new Client(database());
  await client.connect();
  await client.query('CREATE EXTENSION IF NOT EXISTS pgcrypto');
  await client.query('CREATE TABLE IF NOT EXISTS migrations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar UNIQUE NOT NULL)');
  await client.query("INSERT INTO migrations (name) VALUES ('stand-in') ON CONFLICT DO NOTHING");
  await client.end();
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
