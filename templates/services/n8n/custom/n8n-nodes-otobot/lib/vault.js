'use strict';

/**
 * The vault's API, as far as a workflow may ask it. Errors hold a status and words of ours, never a request.
 *
 * @typedef {{apiUrl: string, clientId: string, internalToken: string}} Login
 * @typedef {{url: string, token: string}} Own what this n8n's operator gave the node, out of reach of any workflow
 * @typedef {(options: object) => Promise<{statusCode: number, headers: object, body: any}>} Send
 * @typedef {{accessToken?: string, apiKey?: string}} Credentials
 * @typedef {{connectionId: string, hasCredentials: boolean, credentials: Credentials, metadata: object}} Connection
 * @typedef {{code: string, displayName: string, apiHosts: string[]}} Service
 */

const TIMEOUT_MS = 10_000;

/** What the vault, a service or the line did; `advice` says what to do about it. */
class Failure extends Error {
	/**
	 * @param {string} message
	 * @param {string} advice
	 * @param {number} [status] the HTTP status, when there was an answer
	 */
	constructor(message, advice, status) {
		super(message);
		this.advice = advice;
		this.status = status;
		/** @type {any} what a third party said, the token taken out of it */
		this.body = undefined;
	}
}

const REFUSALS = new Map([
	[400, ['The vault does not understand the request', 'Check the user id (a UUID) and the service code; trying again will not help.']],
	[401, ['The vault refuses the internal token', 'Correct the token in the credential Otobot Database API; trying again will not help.']],
	[403, ['The vault does not allow this', "Use Call Service API, or have the client's vault deployed with expose_credentials; trying again will not help."]],
	[429, ['The vault is asked too often', 'Try again later: switch on Retry On Fail with a wait of at least ']],
]);

class Vault {
	/**
	 * @param {Send} send n8n's httpRequest
	 * @param {Login} login
	 * @param {Own} own
	 */
	constructor(send, login, own = ownOf(process.env)) {
		this.send = send;
		this.login = login;
		this.own = own;
	}

	/** @returns {Promise<Service[]>} */
	async services() {
		const answer = await this.ask('/services');
		if (answer === null || !Array.isArray(answer.services)) {
			throw new Failure('The vault does not list its services', 'Deploy a newer vault API.');
		}
		return answer.services;
	}

	/**
	 * For an item: refused unless the client's vault lets workflows have credentials.
	 *
	 * @returns {Promise<Connection | null>} null where the user has no such connection
	 */
	credentials(/** @type {string} */ user, /** @type {string} */ service) {
		return this.ask(credentialsPath(user, service));
	}

	/**
	 * For the node's own use: what it gives never enters an item. It shows the token of its own, and that to nobody but
	 * the vault that the operator named: whoever writes a credential of n8n's chooses its URL.
	 *
	 * @returns {Promise<Connection | null>} null where the user has no such connection
	 */
	credentialsToUse(/** @type {string} */ user, /** @type {string} */ service) {
		const ours = this.own.token && trimmed(this.login.apiUrl) === trimmed(this.own.url);
		return this.ask(credentialsPath(user, service), ours ? { 'x-node-token': this.own.token } : {});
	}

	/** @returns {Promise<object[] | null>} null where there is no such user */
	async connections(/** @type {string} */ user) {
		const answer = await this.ask(`/user/${encodeURIComponent(user)}/connections`);
		return answer && answer.connections;
	}

	/** @returns {Promise<object[]>} what users have to connect again, now or within so many days */
	async reconnections(/** @type {number} */ days) {
		const answer = await this.ask(`/reconnections?withinDays=${encodeURIComponent(days)}`);
		if (answer === null || !Array.isArray(answer.connections)) {
			throw new Failure('The vault does not list reconnections', 'Deploy a newer vault API.');
		}
		return answer.connections;
	}

	/** @returns {Promise<object | null>} null where there is no such connection */
	connectionStatus(/** @type {string} */ connection) {
		return this.ask(`/connection-status/${encodeURIComponent(connection)}`);
	}

	/** @returns {Promise<any>} the body of a 200, null for a 404. Throws Failure. */
	async ask(/** @type {string} */ path, /** @type {object} */ headers = {}) {
		let answer;
		try {
			answer = await this.send({
				method: 'GET',
				url: `${trimmed(this.login.apiUrl)}/api/internal${path}`,
				headers: { 'x-internal-token': this.login.internalToken, 'x-client-id': this.login.clientId, ...headers },
				json: true,
				returnFullResponse: true,
				ignoreHttpStatusErrors: true,
				disableFollowRedirect: true,
				timeout: TIMEOUT_MS,
			});
		} catch (error) {
			// The error holds the request, and that the internal token: only its code goes on. Not in the message: n8n
			// puts words of its own in the place of one that names a code.
			throw new Failure('The vault does not answer', `Check that the vault API runs, then try again (${reason(error)}).`);
		}
		if (answer.statusCode === 200) return answer.body;
		if (answer.statusCode === 404) return null;
		throw refusal(answer);
	}
}

/** @returns {Own} */
function ownOf(environment) {
	return { url: environment.OTOBOT_VAULT_URL ?? '', token: environment.OTOBOT_NODE_TOKEN ?? '' };
}

function credentialsPath(user, service) {
	return `/user/${encodeURIComponent(user)}/credentials/${encodeURIComponent(service)}`;
}

function trimmed(url) {
	return url.replace(/\/+$/, '');
}

/** @returns {Failure} */
function refusal(answer) {
	const status = answer.statusCode;
	const [message, advice] = REFUSALS.get(status) ?? [
		`The vault answers ${status}`,
		status >= 500 ? 'Try again; if it stays, look at the log of the vault API.' : 'Trying again will not help.',
	];
	const wait = status === 429 ? `${seconds(answer.headers, 60)} s.` : '';
	return new Failure(message, advice + wait, status);
}

/** @returns {number} what the header Retry-After says, in seconds, or `otherwise` */
function seconds(headers, otherwise) {
	const said = Number((headers ?? {})['retry-after']);
	return Number.isFinite(said) && said > 0 ? Math.ceil(said) : otherwise;
}

/** @returns {string} why a request had no answer: a code such as ECONNREFUSED, and nothing of the request */
function reason(error) {
	const code = error && (error.code ?? (error.cause && error.cause.code));
	return /^[A-Z][A-Z0-9_]{1,40}$/.test(String(code)) ? String(code) : 'no connection';
}

module.exports = { Failure, Vault, reason, seconds };
