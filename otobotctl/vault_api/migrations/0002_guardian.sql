-- Logins, OAuth, keys that rotate, an audit that cannot be edited unseen, and a second wall between tenants.

ALTER TABLE clients
    ADD company_name text NOT NULL DEFAULT '',
    ADD email text NOT NULL DEFAULT '',
    ADD is_active boolean NOT NULL DEFAULT true,
    ADD policy jsonb NOT NULL DEFAULT '{}',
    ADD updated_at timestamptz NOT NULL DEFAULT now();

-- `uses` is counted in blocks, ahead of the encryptions: AES-GCM allows 2^32 random nonces under one key.
ALTER TABLE encryption_keys
    ADD uses bigint NOT NULL DEFAULT 0,
    ADD retired_at timestamptz;

ALTER TABLE users
    ADD password_hash text,
    ADD password_changed_at timestamptz,
    ADD must_change_password boolean NOT NULL DEFAULT false,
    ADD last_login_at timestamptz,
    ADD failed_logins integer NOT NULL DEFAULT 0,
    ADD locked_until timestamptz,
    ADD mfa_secret text,
    ADD mfa_enabled boolean NOT NULL DEFAULT false,
    ADD mfa_last_step bigint NOT NULL DEFAULT 0,
    ADD erased_at timestamptz;

CREATE TABLE password_history (
    client_id uuid NOT NULL,
    user_id uuid NOT NULL,
    password_hash text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (client_id, user_id) REFERENCES users (client_id, id) ON DELETE CASCADE
);
CREATE INDEX password_history_user ON password_history (client_id, user_id, set_at);

CREATE TABLE mfa_recovery_codes (
    client_id uuid NOT NULL,
    user_id uuid NOT NULL,
    code_hash bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (client_id, user_id, code_hash),
    FOREIGN KEY (client_id, user_id) REFERENCES users (client_id, id) ON DELETE CASCADE
);

CREATE TABLE user_permissions (
    client_id uuid NOT NULL,
    user_id uuid NOT NULL,
    permission_code text NOT NULL CHECK (permission_code ~ '^[a-z][a-z0-9_.:-]{0,63}$'),
    granted_at timestamptz NOT NULL DEFAULT now(),
    granted_by text NOT NULL,
    PRIMARY KEY (client_id, user_id, permission_code),
    FOREIGN KEY (client_id, user_id) REFERENCES users (client_id, id) ON DELETE CASCADE
);

-- A row a refresh token. Showing a used one again is theft, and ends its family.
CREATE TABLE client_sessions (
    client_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    family uuid NOT NULL,
    token_hash bytea NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    address text NOT NULL DEFAULT '',
    user_agent text NOT NULL DEFAULT '',
    PRIMARY KEY (client_id, id),
    UNIQUE (client_id, token_hash),
    FOREIGN KEY (client_id, user_id) REFERENCES users (client_id, id) ON DELETE CASCADE
);
CREATE INDEX client_sessions_user ON client_sessions (client_id, user_id);
CREATE INDEX client_sessions_family ON client_sessions (client_id, family);

CREATE TABLE api_keys (
    client_id uuid NOT NULL REFERENCES clients,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    prefix text NOT NULL,
    key_hash bytea NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (client_id, id),
    UNIQUE (client_id, prefix)
);

ALTER TABLE services
    ADD oauth_type text NOT NULL DEFAULT 'api_key' CHECK (oauth_type IN ('oauth2', 'api_key')),
    ADD is_active boolean NOT NULL DEFAULT true;

CREATE TABLE oauth_applications (
    client_id uuid NOT NULL REFERENCES clients,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    service_code text NOT NULL REFERENCES services,
    app_name text NOT NULL,
    encrypted_client_id text NOT NULL,
    encrypted_client_secret text,
    redirect_uri text NOT NULL DEFAULT '',
    scopes text[] NOT NULL DEFAULT '{}',
    is_global boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, id)
);
CREATE UNIQUE INDEX oauth_applications_active ON oauth_applications (client_id, service_code) WHERE is_active;

-- A refresh takes the row's lease: `lease` is the fence, a number that only grows. `encrypted_next_refresh_token` holds
-- what a provider has rotated to until the new pair is in place.
ALTER TABLE client_connections
    ADD oauth_app_id uuid,
    ADD scopes text[] NOT NULL DEFAULT '{}',
    ADD parameters jsonb NOT NULL DEFAULT '{}',
    ADD status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'broken', 'revoked')),
    ADD broken_reason text NOT NULL DEFAULT '',
    ADD broken_at timestamptz,
    ADD encrypted_next_refresh_token text,
    ADD refresh_failures integer NOT NULL DEFAULT 0,
    ADD refresh_after timestamptz,
    ADD last_refresh_at timestamptz,
    ADD lease bigint NOT NULL DEFAULT 0,
    ADD lease_until timestamptz,
    ADD FOREIGN KEY (client_id, oauth_app_id) REFERENCES oauth_applications (client_id, id);

CREATE TABLE oauth_states (
    client_id uuid NOT NULL,
    state_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    service_code text NOT NULL REFERENCES services,
    oauth_app_id uuid NOT NULL,
    cookie_hash bytea NOT NULL,
    encrypted_verifier text,
    return_url text NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, state_hash),
    FOREIGN KEY (client_id, user_id) REFERENCES users (client_id, id) ON DELETE CASCADE,
    FOREIGN KEY (client_id, oauth_app_id) REFERENCES oauth_applications (client_id, id) ON DELETE CASCADE
);

-- What lets a browser begin a connect without a login of its own: minted by an authenticated caller, good once.
CREATE TABLE oauth_tickets (
    client_id uuid NOT NULL,
    ticket_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    service_code text NOT NULL REFERENCES services,
    return_url text NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{}',
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, ticket_hash),
    FOREIGN KEY (client_id, user_id) REFERENCES users (client_id, id) ON DELETE CASCADE
);

CREATE TABLE curation_sources (
    client_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    source_type text NOT NULL CHECK (source_type IN ('WEBSITE', 'RSS_FEED', 'SOCIAL_ACCOUNT', 'BLOG')),
    source_value text NOT NULL CHECK (length(source_value) BETWEEN 1 AND 2048),
    source_name text NOT NULL DEFAULT '',
    metadata jsonb NOT NULL DEFAULT '{}',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, id),
    FOREIGN KEY (client_id, user_id) REFERENCES users (client_id, id) ON DELETE CASCADE
);

CREATE TABLE workflows (
    client_id uuid NOT NULL REFERENCES clients,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    webhook_path text NOT NULL CHECK (webhook_path ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,99}(/[A-Za-z0-9_-]{1,100}){0,4}$'),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, id),
    UNIQUE (client_id, name)
);

CREATE TABLE alerts (
    client_id uuid NOT NULL REFERENCES clients,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    kind text NOT NULL,
    connection_id uuid,
    details jsonb NOT NULL DEFAULT '{}',
    raised_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    resolved_at timestamptz,
    PRIMARY KEY (client_id, id)
);
CREATE UNIQUE INDEX alerts_open ON alerts (client_id, kind, connection_id) NULLS NOT DISTINCT WHERE resolved_at IS NULL;

-- A restored archive erases these again.
CREATE TABLE erasures (
    client_id uuid NOT NULL REFERENCES clients,
    user_id uuid NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, user_id)
);

-- A process writes its own chain: sequence 1, 2, 3..., each MAC over the one before. `heads` closes the chains before it in.
CREATE TABLE audit_streams (
    client_id uuid NOT NULL REFERENCES clients,
    id uuid NOT NULL,
    number bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    heads text NOT NULL,
    mac bytea NOT NULL,
    trimmed_to bigint NOT NULL DEFAULT 0,
    trimmed_mac bytea,
    trim_proof bytea,
    PRIMARY KEY (client_id, id),
    UNIQUE (client_id, number)
);

ALTER TABLE credential_access_logs
    DROP CONSTRAINT credential_access_logs_action_check,
    DROP CONSTRAINT credential_access_logs_outcome_check,
    ALTER user_id DROP NOT NULL,
    ALTER service_code DROP NOT NULL,
    ALTER request_id DROP NOT NULL;
ALTER TABLE credential_access_logs RENAME action TO access_type;
ALTER TABLE credential_access_logs RENAME source TO accessed_by;
ALTER TABLE credential_access_logs
    ADD address text NOT NULL DEFAULT '',
    ADD details jsonb NOT NULL DEFAULT '{}',
    ADD stream uuid,
    ADD sequence bigint,
    ADD mac bytea,
    ADD UNIQUE (client_id, stream, sequence);
CREATE INDEX credential_access_logs_connection ON credential_access_logs (client_id, client_connection_id, created_at)
    WHERE client_connection_id IS NOT NULL;

CREATE VIEW v_user_dashboard WITH (security_invoker) AS
SELECT u.client_id, u.id AS user_id, u.email, u.name, u.role, u.is_active, u.last_login_at,
    (SELECT count(*) FROM client_connections c
        WHERE c.client_id = u.client_id AND c.user_id = u.id AND c.is_active) AS connections,
    (SELECT count(*) FROM client_connections c
        WHERE c.client_id = u.client_id AND c.user_id = u.id AND c.is_active
            AND c.token_expires_at <= now()) AS expired,
    (SELECT count(*) FROM client_connections c
        WHERE c.client_id = u.client_id AND c.user_id = u.id AND c.is_active AND c.status = 'broken') AS broken,
    (SELECT count(*) FROM curation_sources s
        WHERE s.client_id = u.client_id AND s.user_id = u.id AND s.is_active) AS curation_sources
FROM users u;

-- The second wall: a statement that forgot the client's id finds nothing of another client. The owner, who migrates and
-- trims, is not behind it.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['users', 'client_connections', 'credential_access_logs', 'refresher_sweeps',
        'encryption_keys', 'password_history', 'mfa_recovery_codes', 'user_permissions', 'client_sessions', 'api_keys',
        'oauth_applications', 'oauth_states', 'oauth_tickets', 'curation_sources', 'workflows', 'alerts', 'erasures',
        'audit_streams']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format($policy$CREATE POLICY own ON %I
            USING (client_id = nullif(current_setting('vault.client', true), '')::uuid)
            WITH CHECK (client_id = nullif(current_setting('vault.client', true), '')::uuid)$policy$, name);
    END LOOP;
END $$;
