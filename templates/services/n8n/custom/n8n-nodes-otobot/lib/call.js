'use strict';

const { Failure, reason, seconds } = require('./vault');
const { redactor } = require('./redact');

/**
 * One request to a third party with a user's token, which lives in this module's functions and nowhere else.
 *
 * @typedef {import('./vault').Connection} Connection
 * @typedef {{method: string, url: string, query: object, headers: object, body: any, timeoutMs: number,
 *   tokenHeader: string, tokenPrefix: string, neverError: boolean}} Wish
 */

const OWN_HEADERS = new Set(['host', 'content-length', 'connection', 'transfer-encoding']);

/**
 * Make the request and return what came back, the token taken out of it wherever it stands.
 *
 * @param {import('./vault').Send} send n8n's httpRequest
 * @param {Connection} connection
 * @param {string[]} hosts the only ones that the token may go to
 * @param {Wish} wish
 * @returns {Promise<{connectionId: string, statusCode: number, headers: object, body: any}>} Throws Failure.
 */
async function call(send, connection, hosts, wish) {
	const token = tokenOf(connection);
	const url = allowed(wish.url, hosts);
	const redact = redactor([token]);
	let answer;
	try {
		answer = await send({
			method: wish.method,
			url: url.href,
			qs: wish.query,
			headers: { ...headersOf(wish), [wish.tokenHeader]: wish.tokenPrefix + token },
			...(wish.body === undefined ? {} : { body: wish.body }),
			encoding: 'text',
			json: false,
			returnFullResponse: true,
			ignoreHttpStatusErrors: true,
			disableFollowRedirect: true,
			timeout: wish.timeoutMs,
		});
	} catch (error) {
		// The error holds the request with its Authorization header: only its code goes on.
		throw new Failure(`${url.hostname} does not answer`, `Try again: switch on Retry On Fail (${reason(error)}).`);
	}
	const result = {
		connectionId: connection.connectionId,
		statusCode: answer.statusCode,
		headers: redact({ ...answer.headers }),
		body: redact(parsed(answer)),
	};
	if (answer.statusCode >= 300 && !wish.neverError) throw refusal(url.hostname, result);
	return result;
}

/** @returns {string} Throws Failure where the connection holds nothing to send. */
function tokenOf(connection) {
	const { accessToken, apiKey } = connection.credentials ?? {};
	const token = accessToken || apiKey;
	if (!token) throw new Failure('The connection holds no token', 'Let the user connect the service again.');
	return token;
}

/**
 * Check where the token would go.
 *
 * @param {string} text
 * @param {string[]} hosts names with or without a port; `*.example.com` stands for every name below example.com
 * @returns {URL} Throws Failure.
 */
function allowed(text, hosts) {
	let url;
	try {
		url = new URL(text);
	} catch {
		throw new Failure('The URL is not one', 'Write it whole, such as https://api.notion.com/v1/pages');
	}
	if (url.protocol !== 'https:') throw new Failure('A token is sent over https only', 'Write the URL with https://');
	if (url.username || url.password) throw new Failure('The URL names a user', 'Leave out what stands before the @');
	if (!hosts.some((host) => matches(url, host.toLowerCase()))) {
		const known = hosts.length ? hosts.join(', ') : 'none';
		throw new Failure(`${url.host} is not a host of this service`, `The vault allows: ${known}`);
	}
	return url;
}

function matches(url, host) {
	if (host.startsWith('*.')) return url.port === '' && url.hostname.endsWith(host.slice(1));
	return url.host === host;
}

function headersOf(wish) {
	const reserved = new Set([...OWN_HEADERS, wish.tokenHeader.toLowerCase()]);
	return Object.fromEntries(Object.entries(wish.headers).filter(([name]) => !reserved.has(name.toLowerCase())));
}

/** JSON is parsed before the token is looked for, so that an escape cannot hide it. */
function parsed(answer) {
	const text = typeof answer.body === 'string' ? answer.body : Buffer.isBuffer(answer.body) ? answer.body.toString() : answer.body;
	if (typeof text !== 'string') return text ?? null;
	try {
		return text === '' ? null : JSON.parse(text);
	} catch {
		return text;
	}
}

/** @returns {Failure} */
function refusal(host, result) {
	const status = result.statusCode;
	let advice = status >= 500 ? 'Try again: switch on Retry On Fail.' : 'Trying again will not help.';
	if (status === 401) {
		advice = 'The token is expired or revoked: ask Check Connection Status, then let the user connect again.';
	} else if (status === 429) {
		advice = `Try again later: switch on Retry On Fail with a wait of at least ${seconds(result.headers, 60)} s.`;
	} else if (status < 400) {
		advice = 'Redirects are not followed, so that the token goes nowhere else: write the URL that it leads to.';
	}
	const failure = new Failure(`${host} answers ${status}`, advice, status);
	failure.body = result.body;
	return failure;
}

module.exports = { allowed, call, tokenOf };
