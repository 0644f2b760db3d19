-- Version 4: tokens are kept as hashes only. A new database has no tokens yet.
-- depends: kitt-0003-web-settings

ALTER TABLE agents ADD COLUMN token_hash TEXT DEFAULT '';
ALTER TABLE agents ADD COLUMN token_prefix TEXT DEFAULT '';
