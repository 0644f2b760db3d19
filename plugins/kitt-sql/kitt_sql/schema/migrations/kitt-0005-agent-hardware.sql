-- Version 5: hardware details of an agent.
-- depends: kitt-0004-agent-token-hash

ALTER TABLE agents ADD COLUMN hardware_details TEXT DEFAULT '';
