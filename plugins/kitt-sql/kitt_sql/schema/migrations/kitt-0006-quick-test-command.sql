-- Version 6: the command that dispatched a quick test.
-- depends: kitt-0005-agent-hardware

ALTER TABLE quick_tests ADD COLUMN command_id TEXT DEFAULT '';
