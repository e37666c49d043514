'use strict';

/** Where the client's vault API is, and the token that n8n shows it. */
class OtobotDatabaseApi {
	constructor() {
		this.name = 'otobotDatabaseApi';
		this.displayName = 'Otobot Database API';
		this.icon = 'file:otobot.svg';
		this.properties = [
			{
				displayName: 'Client ID',
				name: 'clientId',
				type: 'string',
				default: '',
				required: true,
				placeholder: 'acme',
				description: "The client's slug",
			},
			{
				displayName: 'API URL',
				name: 'apiUrl',
				type: 'string',
				default: 'http://vault-api:3001',
				required: true,
				description: 'Where the vault API answers, without a path',
			},
			{
				displayName: 'Internal Token',
				name: 'internalToken',
				type: 'string',
				typeOptions: { password: true },
				default: '',
				required: true,
				description: "The secret N8N_INTERNAL_TOKEN of the client's store",
			},
		];
		this.authenticate = {
			type: 'generic',
			properties: {
				headers: {
					'x-internal-token': '={{$credentials.internalToken}}',
					'x-client-id': '={{$credentials.clientId}}',
				},
			},
		};
		this.test = {
			request: { baseURL: '={{$credentials.apiUrl}}', url: '/api/internal/services', method: 'GET' },
		};
	}
}

module.exports = { OtobotDatabaseApi };
