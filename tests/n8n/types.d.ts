// What the node package uses of n8n and of Node, as far as its own types need it.
declare module 'n8n-workflow' {
	export type INodeTypeDescription = any;
	export type IExecuteFunctions = any;
	export type ILoadOptionsFunctions = any;
	class NodeError extends Error {
		constructor(...all: any[]);
		description?: string;
	}
	export class NodeApiError extends NodeError {}
	export class NodeOperationError extends NodeError {}
}
declare module 'node:http';
declare module 'node:https';
declare const Buffer: any;
declare const process: any;
