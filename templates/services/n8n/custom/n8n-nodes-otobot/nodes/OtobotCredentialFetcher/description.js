'use strict';

/** What the editor shows of the node. */

const forOperations = (...operation) => ({ show: { operation } });

/** @type {import('n8n-workflow').INodeTypeDescription} */
const description = {
	displayName: 'Otobot Credential Fetcher',
	name: 'otobotCredentialFetcher',
	icon: 'file:otobot.svg',
	group: ['transform'],
	version: 1,
	subtitle: '={{ $parameter["operation"] }}',
	description: "Calls a service as one of the client's users, and asks the vault about their connections",
	defaults: { name: 'Otobot Credential Fetcher' },
	inputs: ['main'],
	outputs: ['main'],
	credentials: [{ name: 'otobotDatabaseApi', required: true }],
	properties: [
		{
			displayName: 'Operation',
			name: 'operation',
			type: 'options',
			noDataExpression: true,
			default: 'callServiceApi',
			options: [
				{
					name: 'Call Service API',
					value: 'callServiceApi',
					description: "Make a request to a service with the user's token, which stays out of n8n's data",
					action: 'Call a service as a user',
				},
				{
					name: 'Check Connection Status',
					value: 'checkConnectionStatus',
					description: 'Whether a connection is valid, needs a refresh or is expired',
					action: 'Check the status of a connection',
				},
				{
					name: 'Get User Credentials',
					value: 'getUserCredentials',
					description: 'EXPOSES the decrypted credentials: they become an item, which n8n stores as it stores any other',
					action: 'Expose the credentials of a user',
				},
				{
					name: 'List Reconnections',
					value: 'listReconnections',
					description: "Give one item for each connection of the client's users that has to be made again, now or soon",
					action: 'List what has to be connected again',
				},
				{
					name: 'List User Connections',
					value: 'listUserConnections',
					description: "Give one item for each of the user's connections",
					action: 'List the connections of a user',
				},
			],
		},
		{
			displayName:
				'This exposes a token, so the vault refuses it unless it is deployed with expose_credentials. Whatever the workflow, an item is stored in a failed, manual or waiting execution. Use Call Service API where you can.',
			name: 'exposing',
			type: 'notice',
			default: '',
			displayOptions: forOperations('getUserCredentials'),
		},
		{
			displayName: 'User ID',
			name: 'userId',
			type: 'string',
			required: true,
			default: '={{ $json.body.userId }}',
			description: 'Always an expression: a workflow serves every user of the client',
			displayOptions: forOperations('callServiceApi', 'getUserCredentials', 'listUserConnections'),
		},
		{
			displayName: 'Service Name or ID',
			name: 'service',
			type: 'options',
			required: true,
			default: '',
			typeOptions: { loadOptionsMethod: 'getServices' },
			description:
				'Choose from the list, or specify an ID using an <a href="https://docs.n8n.io/code/expressions/">expression</a>',
			displayOptions: forOperations('callServiceApi', 'getUserCredentials'),
		},
		{
			displayName: 'Connection ID',
			name: 'connectionId',
			type: 'string',
			required: true,
			default: '={{ $json.connectionId }}',
			displayOptions: forOperations('checkConnectionStatus'),
		},
		{
			displayName: 'Within Days',
			name: 'withinDays',
			type: 'number',
			typeOptions: { minValue: 0, maxValue: 366 },
			default: 14,
			description: 'How far ahead to look for tokens that end and that nothing can renew',
			displayOptions: forOperations('listReconnections'),
		},
		{
			displayName: 'Method',
			name: 'method',
			type: 'options',
			noDataExpression: true,
			default: 'GET',
			options: ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT'].map((name) => ({ name, value: name })),
			displayOptions: forOperations('callServiceApi'),
		},
		{
			displayName: 'URL',
			name: 'url',
			type: 'string',
			required: true,
			default: '',
			placeholder: 'https://api.notion.com/v1/pages',
			description: "Whole, with https, and on one of the service's own hosts",
			displayOptions: forOperations('callServiceApi'),
		},
		{
			displayName: 'Query',
			name: 'query',
			type: 'json',
			default: '{}',
			displayOptions: forOperations('callServiceApi'),
		},
		{
			displayName: 'Headers',
			name: 'headers',
			type: 'json',
			default: '{}',
			description: 'The token has its own: see the options',
			displayOptions: forOperations('callServiceApi'),
		},
		{
			displayName: 'Body',
			name: 'body',
			type: 'json',
			default: '',
			description: 'JSON, or text as it is; empty sends none',
			displayOptions: forOperations('callServiceApi'),
		},
		{
			displayName: 'Options',
			name: 'options',
			type: 'collection',
			placeholder: 'Add option',
			default: {},
			displayOptions: forOperations('callServiceApi'),
			options: [
				{
					displayName: 'Never Error',
					name: 'neverError',
					type: 'boolean',
					default: false,
					description: 'Whether an answer of any status is an item, so that the workflow can look at statusCode',
				},
				{
					displayName: 'Timeout (Seconds)',
					name: 'timeoutS',
					type: 'number',
					typeOptions: { minValue: 1, maxValue: 600 },
					default: 60,
				},
				{
					displayName: 'Token Header',
					name: 'tokenHeader',
					type: 'string',
					default: 'Authorization',
					description: 'The header that carries the token',
				},
				{
					displayName: 'Token Prefix',
					name: 'tokenPrefix',
					type: 'string',
					default: 'Bearer ',
					description: 'What stands before the token in its header; may be empty',
				},
			],
		},
	],
};

module.exports = { description };
