-- One client's users, the services they connect to, their sealed credentials, and who read them.

CREATE TABLE clients (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A known text sealed under each key: a vault started with another key refuses at once instead of at the first read.
CREATE TABLE encryption_keys (
    client_id uuid NOT NULL REFERENCES clients,
    version integer NOT NULL CHECK (version > 0),
    proof text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, version)
);

CREATE TABLE users (
    client_id uuid NOT NULL REFERENCES clients,
    id uuid NOT NULL,
    email text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    name text NOT NULL DEFAULT '',
    role text NOT NULL DEFAULT 'user' CHECK (role IN ('admin', 'user')),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, id)
);
CREATE UNIQUE INDEX users_email ON users (client_id, lower(email));

CREATE TABLE services (
    code text PRIMARY KEY CHECK (code ~ '^[a-z][a-z0-9_-]{0,63}$'),
    display_name text NOT NULL
);
INSERT INTO services (code, display_name) VALUES
    ('google', 'Google'), ('microsoft', 'Microsoft 365'), ('notion', 'Notion'), ('slack', 'Slack'),
    ('linkedin', 'LinkedIn'), ('openai', 'OpenAI'), ('anthropic', 'Anthropic'), ('ia-interne', 'IA Interne');

-- Keys across tenants are composite, so that no row can point into another client.
CREATE TABLE client_connections (
    client_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    service_code text NOT NULL REFERENCES services,
    account_identifier text NOT NULL DEFAULT '',
    encrypted_access_token text,
    encrypted_refresh_token text,
    encrypted_api_key text,
    token_expires_at timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, id),
    FOREIGN KEY (client_id, user_id) REFERENCES users (client_id, id),
    CHECK (num_nonnulls(encrypted_access_token, encrypted_refresh_token, encrypted_api_key) > 0)
);
CREATE UNIQUE INDEX client_connections_active ON client_connections (client_id, user_id, service_code) WHERE is_active;
CREATE INDEX client_connections_due ON client_connections (client_id, token_expires_at)
    WHERE is_active AND encrypted_refresh_token IS NOT NULL;

-- The audit outlives what it speaks of, so it refers to nothing. connection_id is null where nothing was found.
CREATE TABLE credential_access_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id uuid NOT NULL,
    client_connection_id uuid,
    user_id uuid NOT NULL,
    service_code text NOT NULL,
    action text NOT NULL CHECK (action IN ('read', 'store')),
    outcome text NOT NULL CHECK (outcome IN ('found', 'missing', 'unreadable', 'created', 'replaced')),
    source text NOT NULL,
    request_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX credential_access_logs_time ON credential_access_logs (client_id, created_at);

-- When the refresher last looked; its health check reads this.
CREATE TABLE refresher_sweeps (
    client_id uuid PRIMARY KEY REFERENCES clients,
    swept_at timestamptz NOT NULL,
    due integer NOT NULL,
    overdue integer NOT NULL
);
