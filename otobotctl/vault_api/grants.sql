-- What the runtime role may do; stated anew at every start. It owns nothing, creates nothing, and can only add to the audit.
REVOKE ALL ON SCHEMA vault FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA vault FROM {runtime}, PUBLIC;
GRANT USAGE ON SCHEMA vault TO {runtime};
GRANT SELECT ON clients, encryption_keys, services, schema_migrations TO {runtime};
GRANT SELECT, INSERT, UPDATE ON users, client_connections, refresher_sweeps TO {runtime};
GRANT INSERT ON credential_access_logs TO {runtime};
