'use strict';

/**
 * Puts a package that came with the release where n8n gives its nodes their plain names, <folder>/nodes/node_modules:
 * `node install.js TAR FOLDER`. The package is whole, old or new, whenever this is killed or the power goes. Before that,
 * takes away what would keep n8n from starting.
 */

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const [tar, folder] = process.argv.slice(2);
const name = path.basename(tar, '.tar');
const nodes = path.join(folder, 'nodes');
const modules = path.join(nodes, 'node_modules');
const target = path.join(modules, name);
const part = path.join(modules, `.${name}-part`);
const archive = fs.readFileSync(tar);
const digest = crypto.createHash('sha256').update(archive).digest('hex');

fs.mkdirSync(modules, { recursive: true });
mend();
declare();
if (!same()) place();

/**
 * n8n writes its settings at its first start, and nothing makes them durable: after a power cut the file may be there and
 * empty, and n8n refuses to start for ever. It writes them anew, with the key that is in its environment.
 */
function mend() {
	const settings = path.join(folder, 'config');
	try {
		JSON.parse(fs.readFileSync(settings, 'utf8'));
	} catch (error) {
		if (!(error instanceof SyntaxError)) return;
		console.error(`otobot: ${settings} is not JSON; n8n writes it anew`);
		fs.rmSync(settings, { force: true });
	}
}

function same() {
	try {
		return fs.readFileSync(path.join(target, '.otobot-digest'), 'utf8') === digest;
	} catch {
		return false;
	}
}

/**
 * npm removes what package.json does not name, and takes what it names from the tar: nothing is asked of a registry.
 * The tar's name changes with its content, because npm's lock file remembers both.
 */
function declare() {
	const kept = `${name}-${digest.slice(0, 12)}.tar`;
	if (size(path.join(nodes, kept)) !== archive.length) write(path.join(nodes, kept), archive);
	for (const other of fs.readdirSync(nodes)) {
		if (other.startsWith(`${name}-`) && other.endsWith('.tar') && other !== kept) fs.rmSync(path.join(nodes, other));
	}
	const list = path.join(nodes, 'package.json');
	let wanted = {};
	try {
		wanted = JSON.parse(fs.readFileSync(list, 'utf8'));
	} catch (error) {
		if (error.code !== 'ENOENT') console.error(`otobot: ${list} is not JSON and is written anew`);
	}
	const source = `file:${kept}`;
	if (wanted.dependencies?.[name] === source) return;
	const named = { name: 'installed-nodes', private: true, ...wanted };
	write(list, JSON.stringify({ ...named, dependencies: { ...wanted.dependencies, [name]: source } }, null, 2));
}

function place() {
	fs.rmSync(part, { recursive: true, force: true });
	for (const [within, content] of entries()) {
		const file = path.join(part, within);
		if (!file.startsWith(part + path.sep)) throw new Error(`${within} leads out of the package`);
		fs.mkdirSync(path.dirname(file), { recursive: true });
		durable(file, content);
	}
	durable(path.join(part, '.otobot-digest'), digest);
	const old = `${part}-old`;
	fs.rmSync(old, { recursive: true, force: true });
	if (fs.existsSync(target)) fs.renameSync(target, old);
	fs.renameSync(part, target);
	fs.rmSync(old, { recursive: true, force: true });
	console.log(`otobot: installed ${name} ${digest.slice(0, 12)}`);
}

/** The regular files of a tar whose paths begin with package/, as npm's do. */
function* entries() {
	const text = (at, size) => archive.toString('utf8', at, at + size).replace(/\0.*$/s, '');
	for (let at = 0; at + 512 <= archive.length && archive[at]; ) {
		const size = parseInt(text(at + 124, 12), 8);
		const prefix = text(at + 345, 155);
		const whole = (prefix ? `${prefix}/` : '') + text(at, 100);
		if (text(at + 156, 1) === '0') yield [whole.replace(/^package\//, ''), archive.subarray(at + 512, at + 512 + size)];
		at += 512 + Math.ceil(size / 512) * 512;
	}
}

function size(file) {
	return fs.statSync(file, { throwIfNoEntry: false })?.size;
}

function write(file, content) {
	durable(`${file}.part`, content);
	fs.renameSync(`${file}.part`, file);
}

/** On disk before its name is: a rename may outlive a power cut that what was written does not. */
function durable(file, content) {
	const descriptor = fs.openSync(file, 'w', 0o644);
	try {
		fs.writeFileSync(descriptor, content);
		fs.fsyncSync(descriptor);
	} finally {
		fs.closeSync(descriptor);
	}
}
