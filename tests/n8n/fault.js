// Ends this program, as a power cut would, at the OTOBOT_END_AT-th thing that it changes.
const left = { count: Number(process.env.OTOBOT_END_AT) };
const change = () => { if (--left.count === 0) process.kill(process.pid, 'SIGKILL'); };
const children = require('node:child_process');
const { spawn } = children;
children.spawn = (...given) => { change(); const child = spawn(...given); child.on('close', change); return child; };
const load = require('node:module')._load;
require('node:module')._load = function (name, ...rest) {
	const found = load.call(this, name, ...rest);
	if (name === 'pg' && !found.Client.prototype.patched) {
		const { query } = found.Client.prototype;
		found.Client.prototype.patched = true;
		found.Client.prototype.query = function (sql, ...more) {
			if (String(sql).startsWith('INSERT')) change();
			return query.call(this, sql, ...more);
		};
	}
	return found;
};
