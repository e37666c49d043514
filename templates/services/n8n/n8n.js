'use strict';

/**
 * This container's own n8n, as the programs beside this one use it: its database for looking, its command line for what
 * it encrypts or stores under an id of ours, and its REST API for what the running n8n has to hear of.
 */

const { spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');

const READY_LIMIT_MS = 240_000;
const PAUSE_MS = 1000;
const NO_ENTRY =
	'n8n does not let its owner in with the password of the store: otobotctl secrets set CLIENT N8N_OWNER_PASSWORD';
const LOCK = 0x6f746f62; // of whoever changes something here; it ends with its connection

/** What went wrong, for the operator: no secret is in it. */
class Trouble extends Error {}

/** @returns {Promise<any>} a connection to n8n's database, by n8n's own settings and driver */
async function database() {
	const set = process.env;
	if (set.DB_TYPE !== 'postgresdb') throw new Trouble('this n8n is not on PostgreSQL');
	const { Client } = createRequire(program())('pg');
	const client = new Client({
		host: set.DB_POSTGRESDB_HOST,
		port: Number(set.DB_POSTGRESDB_PORT || 5432),
		database: set.DB_POSTGRESDB_DATABASE,
		user: set.DB_POSTGRESDB_USER,
		password: set.DB_POSTGRESDB_PASSWORD,
		options: `-c search_path=${set.DB_POSTGRESDB_SCHEMA || 'public'}`,
		connectionTimeoutMillis: 10_000,
	});
	await client.connect();
	return client;
}

/** Wait for whoever else changes this n8n through these programs. */
async function alone(client) {
	await client.query('SELECT pg_advisory_lock($1)', [LOCK]);
}

/** @returns {string} where n8n itself is */
function program() {
	for (const folder of process.env.PATH.split(':')) {
		const found = path.join(folder, 'n8n');
		if (fs.existsSync(found)) return fs.realpathSync(found);
	}
	throw new Trouble('there is no program n8n here');
}

/**
 * Let n8n's command line take `entities`: they go through a pipe, in no argument and no file. It ends with 0 even when
 * it failed, so whoever calls this looks afterwards whether they are there.
 *
 * @param {'credentials' | 'workflow'} what
 * @param {object[]} entities
 * @returns {Promise<string>} its last words
 */
function take(what, entities) {
	return new Promise((resolve, reject) => {
		// n8n opens its input by name. That works with the pipe between two programs, and not with Node's own to a child.
		const line = `cat | n8n import:${what} --input=/dev/stdin`;
		const child = spawn('/bin/sh', ['-c', line], { stdio: ['pipe', 'pipe', 'pipe'] });
		let said = '';
		const hear = (data) => (said = (said + data).slice(-2000));
		child.stdout.on('data', hear);
		child.stderr.on('data', hear);
		child.on('error', reject);
		child.on('close', () => resolve(said.trim().split('\n').slice(-3).join(' / ')));
		child.stdin.on('error', () => {});
		child.stdin.end(JSON.stringify(entities));
	});
}

/** n8n's REST API on loopback; as its owner after `setUp` or `logIn`. */
class Editor {
	constructor() {
		this.url = `http://127.0.0.1:${process.env.N8N_PORT || 5678}/rest`;
		this.cookie = '';
	}

	/** Wait until n8n answers: it is healthy before its migrations are through. Raises Trouble. */
	async ready() {
		const end = Date.now() + READY_LIMIT_MS;
		for (;;) {
			const answer = await this.send('GET', '/settings').catch(() => null);
			if (answer?.status === 200 && answer.data) return;
			if (Date.now() > end) throw new Trouble('n8n does not answer on 127.0.0.1');
			await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
		}
	}

	/** Make the owner's account, which n8n allows once. Raises Trouble with n8n's reason. */
	async setUp({ email, firstName, lastName, password }) {
		await this.ask('POST', '/owner/setup', { email, firstName, lastName, password });
	}

	/** @returns {Promise<boolean>} whether n8n let the owner in; once is enough */
	async logIn({ email, password }) {
		if (this.cookie) return true;
		const answer = await this.send('POST', '/login', { email, emailOrLdapLoginId: email, password });
		return answer.status === 200 && Boolean(this.cookie);
	}

	async ask(method, where, body) {
		const answer = await this.send(method, where, body);
		if (answer.status < 300) return answer.data;
		throw new Trouble(`n8n refuses ${method} ${where.split('?')[0]}: ${answer.status} ${answer.message}`);
	}

	async send(method, where, body) {
		const answer = await fetch(this.url + where, {
			method,
			headers: { 'content-type': 'application/json', ...(this.cookie && { cookie: this.cookie }) },
			body: body === undefined ? undefined : JSON.stringify(body),
			redirect: 'manual',
			signal: AbortSignal.timeout(60_000),
		});
		const set = answer.headers.get('set-cookie') ?? '';
		const found = /\bn8n-auth=[^;,]+/.exec(set);
		if (found) this.cookie = found[0];
		const said = await answer.json().catch(() => ({}));
		return { status: answer.status, data: said.data, message: String(said.message ?? '').slice(0, 300) };
	}
}

const CONTENT = ['name', 'nodes', 'connections', 'settings'];

/** @returns {string} a digest of what a workflow does, whoever stored it and whether it is active or not */
function fingerprint(workflow) {
	return digest(canonical(Object.fromEntries(CONTENT.map((key) => [key, workflow[key] ?? {}]))));
}

/** @returns {string} by a key of n8n's own: another key, and what was stored under the old one is nobody's any more */
function digest(text) {
	return crypto.createHmac('sha256', process.env.N8N_ENCRYPTION_KEY ?? '').update(text).digest('hex').slice(0, 32);
}

function canonical(value) {
	if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
	if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
	const keys = Object.keys(value).filter((key) => value[key] !== undefined);
	return `{${keys.sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`;
}

/**
 * Store workflows under their own ids. New and inactive ones go through the command line and need no login; n8n has to
 * hear of a change to an active one, so that goes through its API as the owner.
 *
 * @returns {Promise<Map<string, string>>} those that could not be stored, by id, and why
 */
async function store(client, editor, owner, workflows) {
	const refused = new Map();
	const active = new Set((await stored(client, workflows)).filter((row) => row.active).map((row) => row.id));
	const quiet = workflows.filter((each) => !active.has(each.id));
	const said = quiet.length ? await take('workflow', quiet.map(bare)) : '';
	for (const each of workflows.filter((one) => active.has(one.id))) {
		if (await editor.logIn(owner)) await replace(editor, bare(each));
		else refused.set(each.id, `it is active, and ${NO_ENTRY}; or switch it off in n8n first`);
	}
	const found = new Map((await stored(client, quiet)).map((row) => [row.id, row]));
	for (const each of quiet) {
		const row = found.get(each.id);
		if (!row || row.name !== each.name) refused.set(each.id, `n8n did not take it: ${said}`);
	}
	return refused;
}

/** What n8n is given of a workflow: never more than this, whatever a file says. */
function bare({ id, name, nodes, connections, settings }) {
	return { id, name, nodes, connections, settings: settings ?? {}, active: false };
}

async function replace(editor, workflow) {
	const where = `/workflows/${encodeURIComponent(workflow.id)}`;
	const { versionId } = await editor.ask('GET', where);
	const done = await editor.ask('PATCH', `${where}?forceSave=true`, { ...workflow, versionId, active: true });
	await published(editor, done);
}

/** Switch a workflow on or off in the running n8n. */
async function activate(editor, id, active) {
	const where = `/workflows/${encodeURIComponent(id)}`;
	const { versionId } = await editor.ask('GET', where);
	const done = await editor.ask('PATCH', where, { active, versionId });
	if (active) await published(editor, done);
}

/** Where a workflow's draft is told from what runs, let the draft run. */
async function published(editor, { id, versionId, activeVersionId }) {
	if (activeVersionId === undefined || activeVersionId === versionId) return;
	await editor.ask('POST', `/workflows/${encodeURIComponent(id)}/activate`, { versionId });
}

async function stored(client, workflows) {
	const columns = 'id, name, active, nodes, connections, settings';
	const wanted = workflows?.map((each) => each.id) ?? null;
	const sql = `SELECT ${columns} FROM workflow_entity WHERE $1::text[] IS NULL OR id::text = ANY($1) ORDER BY id`;
	return (await client.query(sql, [wanted])).rows;
}

/** @returns {Promise<any>} stdin, which is JSON */
async function given() {
	const parts = [];
	for await (const part of process.stdin) parts.push(part);
	return JSON.parse(Buffer.concat(parts).toString('utf8'));
}

/** Run a program's command and end with what became of it: the operator gets one line, never a trace. */
async function main(commands) {
	const command = commands[process.argv[2]];
	try {
		if (!command) throw new Trouble(`the commands are: ${Object.keys(commands).join(', ')}`);
		await command();
		process.exitCode = 0;
	} catch (error) {
		console.error(error instanceof Trouble ? error.message : `${error.name}: ${error.code ?? error.message}`);
		process.exitCode = 1;
	}
}

module.exports = { Editor, NO_ENTRY, Trouble, activate, alone, database, digest, fingerprint, given, main, store, stored, take };
