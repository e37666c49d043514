-- What the runtime role may do; stated anew at every start. It owns nothing, creates nothing, and can only add to the audit.
REVOKE ALL ON SCHEMA vault FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA vault FROM {runtime}, PUBLIC;
GRANT USAGE ON SCHEMA vault TO {runtime};
GRANT SELECT ON services, schema_migrations, v_user_dashboard TO {runtime};
GRANT SELECT ON clients, encryption_keys TO {runtime};
GRANT UPDATE (company_name, email, is_active, policy, updated_at) ON clients TO {runtime};
GRANT UPDATE (uses, retired_at) ON encryption_keys TO {runtime};
GRANT SELECT, INSERT, UPDATE, DELETE ON users, client_connections, refresher_sweeps, password_history,
    mfa_recovery_codes, user_permissions, client_sessions, api_keys, oauth_applications, oauth_states, oauth_tickets,
    curation_sources, workflows, alerts TO {runtime};
GRANT SELECT, INSERT ON credential_access_logs, audit_streams, erasures TO {runtime};
