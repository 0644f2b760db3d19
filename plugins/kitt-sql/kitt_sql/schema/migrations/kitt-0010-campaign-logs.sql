-- Version 10: what a campaign printed.
-- depends: kitt-0009-agent-architecture

CREATE TABLE campaign_logs (
    id {serial},
    campaign_id TEXT NOT NULL REFERENCES web_campaigns (id),
    line TEXT NOT NULL,
    created_at {timestamp} NOT NULL DEFAULT {now}
);

CREATE INDEX idx_campaign_logs_campaign ON campaign_logs (campaign_id);
