-- Version 8: settings of an agent. A new database has no agents yet.
-- depends: kitt-0007-quick-test-logs

CREATE TABLE agent_settings (
    id {serial},
    agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL DEFAULT '',
    UNIQUE (agent_id, key)
);

CREATE INDEX idx_agent_settings_agent ON agent_settings (agent_id);
