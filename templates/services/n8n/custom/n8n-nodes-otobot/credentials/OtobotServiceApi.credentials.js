'use strict';

const http = require('node:http');
const https = require('node:https');
const { Failure, Vault } = require('../lib/vault');
const { allowed, tokenOf } = require('../lib/call');

/**
 * Lets n8n's HTTP Request node call a service as one of the client's users.
 *
 * `authenticate` runs when the request is made and n8n stores nothing of what it adds. Never `preAuthentication` or
 * `expirable`: n8n would store the token, and give one user's to the next.
 */
class OtobotServiceApi {
	constructor() {
		this.name = 'otobotServiceApi';
		this.displayName = 'Otobot Service API';
		this.icon = 'file:otobot.svg';
		this.properties = [
			{
				displayName: 'Client ID',
				name: 'clientId',
				type: 'string',
				default: '',
				required: true,
				placeholder: 'acme',
			},
			{
				displayName: 'API URL',
				name: 'apiUrl',
				type: 'string',
				default: 'http://vault-api:3001',
				required: true,
			},
			{
				displayName: 'Internal Token',
				name: 'internalToken',
				type: 'string',
				typeOptions: { password: true },
				default: '',
				required: true,
			},
			{
				displayName: 'User ID',
				name: 'userId',
				type: 'string',
				default: '={{ $json.body.userId }}',
				required: true,
				description: 'Whose connection to use: an expression is asked again for every item',
			},
			{
				displayName: 'Service',
				name: 'service',
				type: 'string',
				default: '',
				required: true,
				placeholder: 'notion',
				description: 'The code of the service in the vault',
			},
		];
		this.authenticate = authenticate;
	}
}

/**
 * Add the user's token to a request, if it goes where the service's tokens may go.
 *
 * @param {import('../lib/vault').Login & {userId: string, service: string}} credentials
 * @param {any} options n8n's request
 */
async function authenticate(credentials, options) {
	const vault = new Vault(send, credentials);
	const services = await vault.services();
	const service = services.find((each) => each.code === credentials.service);
	if (!service) throw new Failure(`The vault knows no service ${credentials.service}`, 'Correct the credential.');
	allowed(target(options), service.apiHosts ?? []);
	const connection = await vault.credentialsToUse(credentials.userId, credentials.service);
	if (!connection) throw new Failure('Connection not found', 'Let the user connect the service.');
	const token = tokenOf(connection);
	return {
		...options,
		headers: { ...options.headers, Authorization: `Bearer ${token}` },
		disableFollowRedirect: true,
		// The same in n8n's older way of asking, which its HTTP Request node takes.
		followRedirect: false,
		followAllRedirects: false,
	};
}

/** @returns {string} where a request goes, in either of n8n's two ways of saying it */
function target(options) {
	try {
		return new URL(options.url ?? options.uri, options.baseURL).href;
	} catch {
		return '';
	}
}

/** n8n lends a credential no request function, so this is Node's own. */
function send({ method, url, headers, timeout }) {
	return new Promise((resolve, reject) => {
		const library = url.startsWith('https:') ? https : http;
		const request = library.request(url, { method, headers, timeout }, (answer) => {
			const parts = [];
			answer.on('data', (part) => parts.push(part));
			answer.on('error', reject);
			answer.on('end', () => {
				let body = null;
				try {
					body = JSON.parse(Buffer.concat(parts).toString());
				} catch {
					// An answer that is no JSON is judged by its status.
				}
				resolve({ statusCode: answer.statusCode, headers: answer.headers, body });
			});
		});
		request.on('timeout', () => request.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
		request.on('error', reject);
		request.end();
	});
}

module.exports = { OtobotServiceApi };
