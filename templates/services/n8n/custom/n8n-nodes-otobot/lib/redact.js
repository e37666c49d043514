'use strict';

const MARK = '[token]';

/**
 * Return a function that copies a JSON value and takes every secret out of its strings and keys: raw, URL-encoded,
 * hexadecimal, and in base64 wherever in the encoded text it stands.
 *
 * @param {string[]} secrets
 * @returns {(value: any) => any}
 */
function redactor(secrets) {
	const patterns = [...new Set(secrets.filter(Boolean).flatMap(patternsOf))];
	if (!patterns.length) return (value) => value;
	const pattern = new RegExp(patterns.sort((one, two) => two.length - one.length).join('|'), 'gi');
	const copy = (value) => {
		if (typeof value === 'string') return value.replace(pattern, MARK);
		if (typeof value === 'number' || typeof value === 'bigint') {
			return copy(String(value)) === String(value) ? value : MARK;
		}
		if (Array.isArray(value)) return value.map(copy);
		if (value && typeof value === 'object') {
			return Object.fromEntries(Object.entries(value).map(([key, inner]) => [copy(key), copy(inner)]));
		}
		return value;
	};
	return copy;
}

/** @returns {string[]} */
function patternsOf(/** @type {string} */ secret) {
	const bytes = Buffer.from(secret);
	const json = JSON.stringify(secret).slice(1, -1);
	return [inUrl(secret), ...[json, bytes.toString('hex'), ...inBase64(bytes)].map(escaped)];
}

/** Raw or URL-encoded: encoders differ in which signs they escape, so each may be or not. */
function inUrl(/** @type {string} */ secret) {
	return [...secret]
		.map((sign) => {
			const code = [...Buffer.from(sign)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
			return `(?:${escaped(sign)}|${code}${sign === ' ' ? '|\\+' : ''})`;
		})
		.join('');
}

/** The signs that the secret's own bytes decide, for each of the three places in a triplet where it can begin. */
function inBase64(/** @type {Buffer} */ bytes) {
	const found = [];
	for (const before of [0, 1, 2]) {
		const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64').replace(/=+$/, '');
		const first = Math.ceil((before * 8) / 6);
		const last = Math.floor(((before + bytes.length) * 8) / 6);
		const own = text.slice(first, last);
		// A few signs would be found in innocent text as well.
		if (own.length >= 6) found.push(own, own.replace(/\+/g, '-').replace(/\//g, '_'), encodeURIComponent(own));
	}
	return found;
}

function escaped(/** @type {string} */ text) {
	return text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
}

module.exports = { MARK, redactor };
