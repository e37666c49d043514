'use strict';

/**
 * Carries workflows: `workflows.js export` prints one a line, without what n8n remembers of their runs; `workflows.js
 * import` takes {items, workflows, active} on stdin and prints what became of each, one a line. `workflows.js prove` says
 * how many there are, and opens every stored credential with n8n's own key.
 */

const crypto = require('node:crypto');

const { Editor, NO_ENTRY, Trouble, activate, alone, database, given, main, store, stored } = require('./n8n.js');

main({ export: exported, import: imported, prove: proved });

async function exported() {
	const client = await database();
	try {
		for (const row of await stored(client, null)) console.log(JSON.stringify(row));
	} finally {
		await client.end();
	}
}

/** `active`: true or false by id, for those that are to be switched; `items`: what a deploy prepares, the owner too. */
async function imported() {
	const { items, workflows, active } = await given();
	const editor = new Editor();
	await editor.ready();
	const client = await database();
	try {
		await alone(client);
		const owner = items.find((item) => item.kind === 'owner');
		const missing = await remap(client, workflows);
		const refused = workflows.length ? await store(client, editor, owner, workflows) : new Map();
		const ids = new Set([...workflows.map((each) => each.id), ...Object.keys(active)]);
		const live = new Map((await stored(client, [...ids].map((id) => ({ id })))).map((row) => [row.id, row]));
		for (const id of ids) {
			let why = refused.get(id) ?? '';
			if (!why && id in active && live.get(id)?.active !== active[id]) why = await switched(editor, owner, id, active[id]);
			console.log(JSON.stringify({ id, why, missing: missing.get(id) ?? [] }));
		}
	} finally {
		await client.end();
	}
}

async function proved() {
	const client = await database();
	try {
		const workflows = (await stored(client, null)).length;
		const rows = (await client.query('SELECT id, data FROM credentials_entity ORDER BY id')).rows;
		const shut = rows.filter((row) => !opens(row.data)).length;
		if (shut) throw new Trouble(`n8n's key does not open ${shut} of ${rows.length} credentials`);
		console.log(`${workflows} workflows, ${rows.length} credentials that its key opens`);
	} finally {
		await client.end();
	}
}

/** As n8n seals a credential: "Salted__", eight bytes of salt, AES-256-CBC of JSON; key and IV by MD5 of key and salt. */
function opens(data) {
	const raw = Buffer.from(data, 'base64');
	const secret = Buffer.concat([Buffer.from(process.env.N8N_ENCRYPTION_KEY ?? '', 'binary'), raw.subarray(8, 16)]);
	const md5 = (...parts) => crypto.createHash('md5').update(Buffer.concat(parts)).digest();
	const first = md5(secret);
	const second = md5(first, secret);
	try {
		const cipher = crypto.createDecipheriv('aes-256-cbc', Buffer.concat([first, second]), md5(second, secret));
		JSON.parse(Buffer.concat([cipher.update(raw.subarray(16)), cipher.final()]).toString('utf8'));
		return true;
	} catch {
		return false;
	}
}

async function switched(editor, owner, id, on) {
	try {
		if (!(await editor.logIn(owner))) return NO_ENTRY;
		await activate(editor, id, on);
		return '';
	} catch (error) {
		return error.message;
	}
}

/** Give each node the ids that its credentials have here, by type and name; return the names that nothing here has. */
async function remap(client, workflows) {
	const rows = (await client.query('SELECT id, name, type FROM credentials_entity ORDER BY "createdAt"')).rows;
	const here = new Map(rows.reverse().map((row) => [`${row.type}\n${row.name}`, row.id])); // of several the oldest
	const missing = new Map();
	for (const workflow of workflows) {
		const lacking = new Set();
		for (const node of workflow.nodes) {
			for (const [type, said] of Object.entries(node.credentials ?? {})) {
				const id = here.get(`${type}\n${said.name}`);
				if (!id) lacking.add(said.name);
				node.credentials[type] = { id: id ?? null, name: said.name };
			}
		}
		if (lacking.size) missing.set(workflow.id, [...lacking].sort());
	}
	return missing;
}
