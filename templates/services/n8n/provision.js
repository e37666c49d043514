'use strict';

/**
 * Prepares this n8n: `provision.js check ITEMS` says how each item is, `provision.js apply` takes them with their
 * contents on stdin and makes them so. Killed anywhere, the next run goes on.
 *
 * What was provisioned is noted in n8n's own database, so that both are always of one moment, in an archive too:
 *   wanted    the digest of the item that is provisioned
 *   stored    the fingerprint of what n8n held just after; another one now, and somebody has edited it there
 *   intended  the fingerprint of what was about to be stored; left behind by a run that was killed
 */

const { Editor, Trouble, alone, database, digest, fingerprint, given, main, store, stored, take } = require('./n8n.js');

const TABLE = 'otobot.provisioned';

main({ check, apply });

/** Print {items: {name: state}}: ready, absent, stale (apply makes it so) or kept (edited in n8n; ours is newer). */
async function check() {
	const client = await database();
	try {
		const notes = await noted(client);
		const found = {};
		for (const item of JSON.parse(process.argv[3])) {
			found[item.name] = await KINDS[item.kind].state(client, item, notes.get(`${item.kind}:${item.id}`));
		}
		console.log(JSON.stringify({ items: found }));
	} finally {
		await client.end();
	}
}

async function apply() {
	const items = await given();
	const editor = new Editor();
	await editor.ready();
	const client = await database();
	try {
		await alone(client);
		await client.query('CREATE SCHEMA IF NOT EXISTS otobot');
		await client.query(
			`CREATE TABLE IF NOT EXISTS ${TABLE} (item text PRIMARY KEY, wanted text, stored text, intended text)`,
		);
		const owner = items.find((item) => item.kind === 'owner');
		for (const kind of ['owner', 'credential', 'no credential', 'workflow']) {
			const mine = [];
			for (const item of items.filter((each) => each.kind === kind)) {
				const note = (await noted(client)).get(`${kind}:${item.id}`);
				const state = await KINDS[kind].state(client, item, note);
				if (state === 'absent' || state === 'stale') mine.push(item);
			}
			if (mine.length) await KINDS[kind].make(client, editor, owner, mine);
		}
	} finally {
		await client.end();
	}
}

const KINDS = {
	owner: {
		async state(client) {
			const sql = "SELECT value FROM settings WHERE key = 'userManagement.isInstanceOwnerSetUp'";
			const [row] = (await client.query(sql)).rows;
			return row && JSON.parse(row.value) === true ? 'ready' : 'absent';
		},
		async make(client, editor, owner, [item]) {
			await editor.setUp(item);
			console.log(`made the owner's account ${item.email}`);
		},
	},

	/** Its values are the store's, whatever was typed into n8n: so a token that was rotated arrives. */
	credential: {
		async state(client, item, note) {
			const [row] = await credentials(client, [item]);
			if (!row) return 'absent';
			return note && note.wanted === item.digest && note.stored === sealed(row) ? 'ready' : 'stale';
		},
		async make(client, editor, owner, items) {
			// `nodesAccess`: older ones want it, newer ones do not know it.
			const entities = items.map(({ id, title: name, type, data }) => ({ id, name, type, data, nodesAccess: [] }));
			const before = new Map((await credentials(client, items)).map((row) => [row.id, sealed(row)]));
			const said = await take('credentials', entities);
			const after = new Map((await credentials(client, items)).map((row) => [row.id, sealed(row)]));
			for (const item of items) {
				// n8n seals with a fresh salt, so what it took never looks like what was there.
				if (!after.has(item.id) || after.get(item.id) === before.get(item.id)) {
					throw new Trouble(`n8n did not take the ${item.name}: ${said}`);
				}
				await note(client, item, { wanted: item.digest, stored: after.get(item.id), intended: null });
				console.log(`${before.has(item.id) ? 'renewed' : 'stored'} the ${item.name}`);
			}
		},
	},

	/** One of ours that must not stay, because what it holds was revoked. */
	'no credential': {
		async state(client, item) {
			return (await credentials(client, [item])).length ? 'stale' : 'ready';
		},
		async make(client, editor, owner, items) {
			const ids = items.map((item) => item.id);
			await client.query('DELETE FROM credentials_entity WHERE id::text = ANY($1)', [ids]);
			await client.query(`DELETE FROM ${TABLE} WHERE item = ANY($1)`, [ids.map((id) => `credential:${id}`)]);
			for (const item of items) console.log(`removed the ${item.name}`);
		},
	},

	workflow: {
		async state(client, item, note) {
			const [row] = await stored(client, [item]);
			if (!row) return 'absent';
			if (!note) return 'stale'; // whose it is, only its content can tell
			const now = fingerprint(row);
			if (note.intended === now) return 'stale';
			if (note.wanted === item.digest) return 'ready'; // edited or not: there is nothing newer
			return note.stored === now ? 'stale' : 'kept';
		},
		async make(client, editor, owner, items) {
			const changed = [];
			const live = new Map((await stored(client, items)).map((row) => [row.id, row]));
			const notes = await noted(client);
			for (const item of items) {
				const row = live.get(item.id);
				const known = notes.get(`workflow:${item.id}`);
				const ours = { ...item.workflow, id: item.id };
				if (!row || (known && [known.stored, known.intended].includes(fingerprint(row)))) {
					await note(client, item, { ...known, intended: fingerprint(ours) });
					changed.push({ item, ours, known });
				} else if (fingerprint(row) === fingerprint(ours)) {
					await note(client, item, { wanted: item.digest, stored: fingerprint(row), intended: null });
				} else {
					await note(client, item, { wanted: null, stored: null, intended: null });
					console.log(`kept the ${item.name}: n8n has another with its id`);
				}
			}
			if (changed.length) await put(client, editor, owner, changed);
		},
	},
};

async function put(client, editor, owner, changed) {
	const refused = await store(client, editor, owner, changed.map((each) => each.ours));
	const live = new Map((await stored(client, changed.map((each) => each.item))).map((row) => [row.id, row]));
	for (const { item, known } of changed) {
		if (refused.has(item.id)) throw new Trouble(`the ${item.name}: ${refused.get(item.id)}`);
		await note(client, item, { wanted: item.digest, stored: fingerprint(live.get(item.id)), intended: null });
		console.log(`${known ? 'updated' : 'stored'} the ${item.name}`);
	}
}

async function credentials(client, items) {
	const sql = 'SELECT id, name, type, data FROM credentials_entity WHERE id::text = ANY($1)';
	return (await client.query(sql, [items.map((item) => item.id)])).rows;
}

function sealed({ name, type, data }) {
	return digest(JSON.stringify([name, type, data]));
}

async function noted(client) {
	const [{ there }] = (await client.query('SELECT to_regclass($1) IS NOT NULL AS there', [TABLE])).rows;
	if (!there) return new Map();
	return new Map((await client.query(`SELECT * FROM ${TABLE}`)).rows.map((row) => [row.item, row]));
}

async function note(client, item, { wanted = null, stored = null, intended = null }) {
	await client.query(
		`INSERT INTO ${TABLE} VALUES ($1, $2, $3, $4)
		 ON CONFLICT (item) DO UPDATE SET wanted = $2, stored = $3, intended = $4`,
		[`${item.kind}:${item.id}`, wanted, stored, intended],
	);
}
