'use strict';

/**
 * Prepares this ToolJet as far as its API lets itself be used: `provision.js check ITEMS` says how each item is,
 * `provision.js apply` takes them with their contents on stdin.
 *
 * None of it is documented by ToolJet. So each answer is checked against what then is in its database; what was refused
 * is noted there with the item's digest and left to the operator (`otobotctl client guide`), until the item or the
 * version changes.
 */

const { createRequire } = require('node:module');
const path = require('node:path');

const TABLE = 'otobot.provisioned';
const READY_LIMIT_MS = 240_000;

main();

async function main() {
	const client = connection();
	try {
		await client.connect();
		await { check, apply }[process.argv[2]](client);
	} catch (error) {
		console.error(`${error.name}: ${error.code ?? error.message}`);
		process.exitCode = 1;
	} finally {
		await client.end().catch(() => {});
	}
}

function connection() {
	const near = [process.cwd(), '/app'].flatMap((folder) => [folder, path.join(folder, 'server')]);
	const { Client } = require(createRequire(__filename).resolve('pg', { paths: near }));
	const { PG_HOST: host, PG_PORT: port, PG_USER: user, PG_PASS: password, PG_DB: database } = process.env;
	return new Client({ host, port: Number(port || 5432), user, password, database, connectionTimeoutMillis: 10_000 });
}

/** Print {items: {name: state}}: ready, absent, or kept, which here means that ToolJet's API did not take it. */
async function check(client) {
	const items = {};
	for (const item of JSON.parse(process.argv[3])) items[item.name] = await state(client, item);
	console.log(JSON.stringify({ items }));
}

async function apply(client) {
	const parts = [];
	for await (const part of process.stdin) parts.push(part);
	const items = JSON.parse(Buffer.concat(parts).toString('utf8'));
	await client.query('CREATE SCHEMA IF NOT EXISTS otobot');
	await client.query(`CREATE TABLE IF NOT EXISTS ${TABLE} (item text PRIMARY KEY, refused text)`);
	const api = new Api();
	await api.ready();
	const admin = items.find((item) => item.kind === 'admin');
	for (const item of items) {
		if ((await state(client, item)) !== 'absent') continue;
		const said = await (item.kind === 'admin' ? api.setUp(item) : api.source(admin, item));
		if ((await state(client, item)) === 'ready') {
			console.log(`made the ${item.name}`);
			continue;
		}
		await client.query(`INSERT INTO ${TABLE} VALUES ($1, $2) ON CONFLICT (item) DO UPDATE SET refused = $2`, [
			item.id,
			item.digest,
		]);
		console.log(`ToolJet did not take the ${item.name} (${said}); it is yours to make: otobotctl client guide`);
	}
}

async function state(client, item) {
	const [table, sql, values] =
		item.kind === 'admin'
			? ['users', 'SELECT 1 FROM users LIMIT 1', []]
			: ['data_sources', "SELECT 1 FROM data_sources WHERE name = $1 AND scope = 'global' LIMIT 1", [item.id]];
	if (!(await there(client, table))) return 'kept';
	if ((await client.query(sql, values)).rows.length) return 'ready';
	if (!(await there(client, TABLE))) return 'absent';
	const noted = await client.query(`SELECT 1 FROM ${TABLE} WHERE item = $1 AND refused = $2`, [item.id, item.digest]);
	return noted.rows.length ? 'kept' : 'absent';
}

async function there(client, table) {
	return (await client.query('SELECT to_regclass($1) IS NOT NULL AS there', [table])).rows[0].there;
}

/** ToolJet's own API on loopback. Every call returns what was answered, in a word for the operator. */
class Api {
	constructor() {
		const below = (process.env.SUB_PATH ?? '').replace(/\/$/, '');
		this.url = `http://127.0.0.1:${process.env.PORT || 3000}${below}/api`;
		this.health = `http://127.0.0.1:${process.env.PORT || 3000}/api/health`;
	}

	async ready() {
		const end = Date.now() + READY_LIMIT_MS;
		while (!(await fetch(this.health).catch(() => null))?.ok) {
			if (Date.now() > end) throw new Error('ToolJet does not answer on 127.0.0.1');
			await new Promise((resolve) => setTimeout(resolve, 1000));
		}
	}

	/** The first account, which ToolJet makes only while there is none. */
	async setUp({ email, fullName, password, workspace }) {
		const body = { email, name: fullName, password, workspace };
		const first = await this.send('/setup-admin', body);
		if (first.status !== 404) return String(first.status);
		return String((await this.send('/onboarding/setup-first-user', { ...body, workspaceName: workspace })).status);
	}

	async source({ email, password }, { id, url }) {
		const entered = await this.send('/authenticate', { email, password });
		const workspace = entered.body.current_organization_id ?? entered.body.organization_id;
		if (entered.status >= 300 || !entered.cookie) return `no login with the store's password: ${entered.status}`;
		const options = Object.entries({ url, auth_type: 'none', headers: [['', '']] });
		const body = {
			name: id,
			kind: 'restapi',
			scope: 'global',
			options: options.map(([key, value]) => ({ key, value, encrypted: false })),
		};
		const headers = { cookie: entered.cookie, ...(workspace && { 'tj-workspace-id': workspace }) };
		return String((await this.send('/v2/data_sources', body, headers)).status);
	}

	async send(where, body, headers = {}) {
		const answer = await fetch(this.url + where, {
			method: 'POST',
			headers: { 'content-type': 'application/json', ...headers },
			body: JSON.stringify(body),
			redirect: 'manual',
			signal: AbortSignal.timeout(60_000),
		});
		const cookie = /\btj_auth_token=[^;,]+/.exec(answer.headers.get('set-cookie') ?? '')?.[0] ?? '';
		return { status: answer.status, body: (await answer.json().catch(() => null)) ?? {}, cookie };
	}
}
