// How ToolJet finds its database.
'use strict';
module.exports = () => {
  const { DATABASE_URL, PG_HOST, PG_PORT, PG_USER, PG_PASS, PG_DB } = process.env;
  if (DATABASE_URL) return { connectionString: DATABASE_URL, ssl: { rejectUnauthorized: false } };
  return { host: PG_HOST, port: Number(PG_PORT || 5432), user: PG_USER, password: PG_PASS, database: PG_DB };
};
