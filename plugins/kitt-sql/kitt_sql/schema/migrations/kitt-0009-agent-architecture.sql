-- Version 9: the processor architecture of an agent.
-- depends: kitt-0008-agent-settings

ALTER TABLE agents ADD COLUMN cpu_arch TEXT DEFAULT '';
