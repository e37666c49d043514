'use strict';

const { NodeApiError, NodeOperationError } = require('n8n-workflow');
const { call } = require('../../lib/call');
const { Failure, Vault } = require('../../lib/vault');
const { description } = require('./description');

/** What a user without a connection is: an answer, which workflows test for, and no error. */
const NOTHING = Object.freeze({ error: 'Connection not found', hasCredentials: false });
const SAID_MOST = 500;

/** Each operation gives the items of one input item. */
const OPERATIONS = {
	async getUserCredentials(work, wish) {
		const found = await work.vault.credentials(wish.userId, wish.service);
		return [found ?? NOTHING];
	},

	async listUserConnections(work, wish) {
		const found = await work.vault.connections(wish.userId);
		return found ? found.map((each) => ({ connectionId: each.id, userId: wish.userId, ...each })) : [NOTHING];
	},

	async listReconnections(work, wish) {
		const found = await work.vault.reconnections(wish.withinDays);
		return found.map((each) => ({ connectionId: each.id, ...each }));
	},

	async checkConnectionStatus(work, wish) {
		const found = await work.vault.connectionStatus(wish.connectionId);
		return [found ? { connectionId: wish.connectionId, ...found } : NOTHING];
	},

	async callServiceApi(work, wish) {
		const services = await work.services();
		const service = services.find((each) => each.code === wish.service);
		if (!service) throw new Failure(`The vault knows no service ${wish.service}`, 'Choose one of the list.');
		const connection = await work.vault.credentialsToUse(wish.userId, wish.service);
		if (!connection) return [NOTHING];
		if (!connection.hasCredentials) return [ended(connection)];
		return [await call(work.send, connection, service.apiHosts ?? [], wish.request)];
	},
};

/** What a connection is that the provider has ended: an answer too, which says whose business it is. */
function ended({ connectionId, metadata }) {
	return { error: 'Reconnect the service', hasCredentials: false, connectionId, metadata };
}

/** Reads a client's vault, and calls third parties for its users: a token stays inside `execute` unless it is asked for. */
class OtobotCredentialFetcher {
	constructor() {
		this.description = description;
		this.methods = { loadOptions: { getServices } };
	}

	/** @this {import('n8n-workflow').IExecuteFunctions} */
	async execute() {
		const items = this.getInputData();
		const given = [];
		const work = await workOf(this);
		for (let item = 0; item < items.length; item++) {
			try {
				const wish = wishOf(this, item);
				const found = await OPERATIONS[wish.operation](work, wish);
				given.push(...found.map((json) => ({ json: { ...json }, pairedItem: { item } })));
			} catch (error) {
				const told = shown(this.getNode(), error, item);
				if (!this.continueOnFail()) throw told;
				// These two names, and no error beside them: n8n takes that to its error output, and an item that holds an
				// error object makes every later expression about it empty ("illegal access", 1.123 on Node 24).
				const json = { error: told.message, message: told.description || told.message };
				given.push({ json, pairedItem: { item } });
			}
		}
		return [given];
	}
}

/** @this {import('n8n-workflow').ILoadOptionsFunctions} */
async function getServices() {
	const work = await workOf(this);
	try {
		const services = await work.services();
		return services.map(({ code, displayName }) => ({ name: displayName || code, value: code }));
	} catch (error) {
		throw shown(this.getNode(), error);
	}
}

/** What the items of one execution share: the list of services is asked for once, a credential never kept. */
async function workOf(context) {
	const login = await context.getCredentials('otobotDatabaseApi');
	const send = (options) => context.helpers.httpRequest(options);
	const vault = new Vault(send, login);
	let services;
	return { send, vault, services: () => (services ??= vault.services()) };
}

function wishOf(context, item) {
	const get = (name, otherwise) => context.getNodeParameter(name, item, otherwise);
	const text = (name) => String(get(name, '') ?? '').trim();
	const operation = text('operation');
	const wish = { operation };
	if (operation === 'listReconnections') return { ...wish, withinDays: Number(get('withinDays', 14)) };
	for (const name of operation === 'checkConnectionStatus' ? ['connectionId'] : ['userId']) wish[name] = required(text(name), name);
	if (operation === 'getUserCredentials' || operation === 'callServiceApi') wish.service = required(text('service'), 'service');
	if (operation !== 'callServiceApi') return wish;
	const options = get('options', {});
	const body = get('body', '');
	wish.request = {
		method: text('method') || 'GET',
		url: required(text('url'), 'url'),
		query: record(get('query', {}), 'query'),
		headers: record(get('headers', {}), 'headers'),
		body: body === '' || body === null ? undefined : whole(body),
		timeoutMs: (options.timeoutS ?? 60) * 1000,
		tokenHeader: options.tokenHeader || 'Authorization',
		tokenPrefix: options.tokenPrefix ?? 'Bearer ',
		neverError: options.neverError ?? false,
	};
	return wish;
}

function required(text, name) {
	if (!text) throw new Failure(`${name} is empty`, 'Often the item has no such field: look at what comes in.');
	return text;
}

function record(value, name) {
	const found = typeof value === 'string' && value.trim() === '' ? {} : whole(value);
	if (found && typeof found === 'object' && !Array.isArray(found)) return found;
	throw new Failure(`${name} is not a JSON object`, 'Write it such as {"page_size": 10}');
}

/** A field of JSON arrives as text, or as the value that an expression made. */
function whole(value) {
	if (typeof value !== 'string') return value;
	try {
		return JSON.parse(value);
	} catch {
		return value;
	}
}

/** An error as n8n shows and stores it: our words, and of the third party's answer what is left after the token is out. */
function shown(node, error, itemIndex) {
	if (!(error instanceof Failure)) {
		// Expressions that fail are the workflow's; anything else could quote what nobody should see.
		const words = String(error?.constructor?.name).startsWith('Expression') ? error.message : 'The node could not do this';
		return new NodeOperationError(node, words, { itemIndex });
	}
	const said = error.body === undefined || error.body === null ? '' : ` It says: ${excerpt(error.body)}`;
	const description = `${error.advice}${said}`;
	if (error.status === undefined) return new NodeOperationError(node, error.message, { itemIndex, description });
	return new NodeApiError(node, {}, { message: error.message, description, httpCode: String(error.status), itemIndex });
}

function excerpt(body) {
	const text = typeof body === 'string' ? body : JSON.stringify(body);
	return text.length > SAID_MOST ? `${text.slice(0, SAID_MOST)}...` : text;
}

module.exports = { OtobotCredentialFetcher };
