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
	const forms = [...new Set(secrets.filter(Boolean).flatMap(formsOf))].sort((one, two) => two.length - one.length);
	if (!forms.length) return (value) => value;
	const pattern = new RegExp(forms.map(escaped).join('|'), 'gi');
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
function formsOf(/** @type {string} */ secret) {
	const bytes = Buffer.from(secret);
	// Every character may be written as an escape, and an unusual encoder escapes more than it must.
	const all = [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
	const plus = encodeURIComponent(secret).replace(/%20/g, '+');
	const strict = encodeURIComponent(secret).replace(/[!'()*._~-]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
	const json = JSON.stringify(secret).slice(1, -1);
	return [secret, encodeURIComponent(secret), plus, strict, all, json, bytes.toString('hex'), ...inBase64(bytes)];
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
