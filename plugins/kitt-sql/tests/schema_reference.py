"""The schema reference (versions 1 to 10), KITT 1.7's version 11 and the additions, transcribed by hand.

A column is ``name TYPE default reference``; ``-`` is none. Defaults are those of KITT 1.x (`kitt-formats.md`),
NULL for optional times and foreign keys.
"""

NOW = "datetime('now')"

REFERENCE = {
    "schema_version": f"version INTEGER - - | applied_at TEXT {NOW} -",
    "runs": f"""id TEXT - - | model TEXT - - | engine TEXT - - | suite_name TEXT '' - | timestamp TEXT - -
        | passed INTEGER 0 - | total_benchmarks INTEGER 0 - | passed_count INTEGER 0 - | failed_count INTEGER 0 -
        | total_time_seconds REAL 0.0 - | kitt_version TEXT '' - | raw_json TEXT - - | created_at TEXT {NOW} -""",
    "benchmarks": f"""id INTEGER - - | run_id TEXT - runs.id:CASCADE | test_name TEXT - -
        | test_version TEXT '1.0.0' - | run_number INTEGER 1 - | passed INTEGER 0 - | timestamp TEXT - -
        | created_at TEXT {NOW} -""",
    "metrics": """id INTEGER - - | benchmark_id INTEGER - benchmarks.id:CASCADE | metric_name TEXT - -
        | metric_value REAL - -""",
    "hardware": """id INTEGER - - | run_id TEXT - runs.id:CASCADE | gpu_model TEXT - - | gpu_vram_gb INTEGER - -
        | gpu_count INTEGER 1 - | cpu_model TEXT - - | cpu_cores INTEGER - - | ram_gb INTEGER - -
        | environment_type TEXT - - | fingerprint TEXT - -""",
    "agents": f"""id TEXT - - | name TEXT - - | hostname TEXT - - | port INTEGER 8090 - | token TEXT '' -
        | token_hash TEXT '' - | token_prefix TEXT '' - | status TEXT 'offline' - | gpu_info TEXT '' -
        | gpu_count INTEGER 0 - | cpu_info TEXT '' - | ram_gb INTEGER 0 - | environment_type TEXT '' -
        | fingerprint TEXT '' - | kitt_version TEXT '' - | hardware_details TEXT '' - | last_heartbeat TEXT - -
        | registered_at TEXT {NOW} - | notes TEXT '' - | tags TEXT '[]' - | cpu_arch TEXT '' -""",
    "web_campaigns": f"""id TEXT - - | name TEXT - - | description TEXT '' - | config_json TEXT - -
        | status TEXT 'draft' - | agent_id TEXT - agents.id: | created_at TEXT {NOW} - | started_at TEXT - -
        | completed_at TEXT - - | total_runs INTEGER 0 - | succeeded INTEGER 0 - | failed INTEGER 0 -
        | skipped INTEGER 0 - | error TEXT '' -""",
    "quick_tests": f"""id TEXT - - | agent_id TEXT - agents.id: | model_path TEXT - - | engine_name TEXT - -
        | benchmark_name TEXT - - | suite_name TEXT 'quick' - | status TEXT 'queued' - | command_id TEXT '' -
        | created_at TEXT {NOW} - | started_at TEXT - - | completed_at TEXT - - | result_id TEXT - runs.id:
        | error TEXT '' -""",
    "events": f"""id INTEGER - - | event_type TEXT - - | source_id TEXT - - | data TEXT - -
        | created_at TEXT {NOW} -""",
    "web_settings": "key TEXT - - | value TEXT - -",
    "quick_test_logs": f"""id INTEGER - - | test_id TEXT - quick_tests.id: | line TEXT - -
        | created_at TEXT {NOW} -""",
    "agent_settings": """id INTEGER - - | agent_id TEXT - agents.id:CASCADE | key TEXT - - | value TEXT '' -""",
    "campaign_logs": f"""id INTEGER - - | campaign_id TEXT - web_campaigns.id: | line TEXT - -
        | created_at TEXT {NOW} -""",
}

VERSION_11 = {
    "engine_profiles": f"""id TEXT - - | name TEXT - - | engine TEXT - - | mode TEXT 'docker' -
        | description TEXT '' - | build_config TEXT '{{}}' - | runtime_config TEXT '{{}}' -
        | created_at TEXT {NOW} - | updated_at TEXT {NOW} -""",
    "agent_engines": """id INTEGER - - | agent_id TEXT - agents.id:CASCADE | engine TEXT - - | mode TEXT - -
        | version TEXT '' - | binary_path TEXT '' - | status TEXT 'unknown' - | last_checked TEXT - -""",
    "quick_tests": "engine_mode TEXT 'docker' - | profile_id TEXT '' -",
}

ADDITIONS = {
    "run_documents": "run_id TEXT - runs.id:CASCADE | sha256 TEXT - - | document BLOB - -",
    "run_labels": "run_id TEXT - runs.id:CASCADE | key TEXT - - | value TEXT - -",
}

INDEXES = {
    "idx_runs_model": "runs(model)",
    "idx_runs_engine": "runs(engine)",
    "idx_runs_suite_name": "runs(suite_name)",
    "idx_runs_timestamp": "runs(timestamp)",
    "idx_benchmarks_run_id": "benchmarks(run_id)",
    "idx_benchmarks_test_name": "benchmarks(test_name)",
    "idx_metrics_benchmark_id": "metrics(benchmark_id)",
    "idx_metrics_name": "metrics(metric_name)",
    "idx_hardware_run_id": "hardware(run_id)",
    "idx_agents_name": "agents(name)",
    "idx_agents_status": "agents(status)",
    "idx_web_campaigns_status": "web_campaigns(status)",
    "idx_web_campaigns_agent": "web_campaigns(agent_id)",
    "idx_quick_tests_agent": "quick_tests(agent_id)",
    "idx_quick_tests_status": "quick_tests(status)",
    "idx_events_type": "events(event_type)",
    "idx_events_source": "events(source_id)",
    "idx_quick_test_logs_test": "quick_test_logs(test_id)",
    "idx_campaign_logs_campaign": "campaign_logs(campaign_id)",
    "idx_agent_settings_agent": "agent_settings(agent_id)",
}

ADDED_INDEXES = {
    "idx_engine_profiles_engine": "engine_profiles(engine)",
    "idx_agent_engines_agent": "agent_engines(agent_id)",
    "idx_run_documents_sha256": "run_documents(sha256)",
    "idx_run_labels_key_value": "run_labels(key, value)",
    "idx_runs_model_timestamp": "runs(model, timestamp)",
    "idx_runs_engine_timestamp": "runs(engine, timestamp)",
}

UNIQUE = {
    "agents": [("name",)],
    "agent_settings": [("agent_id", "key")],
    "engine_profiles": [("name",)],
    "agent_engines": [("agent_id", "engine", "mode")],
}

PRIMARY_KEYS = {"run_documents": ["run_id"], "run_labels": ["run_id", "key"], "web_settings": ["key"]} | {
    "schema_version": ["version"]
}
"""Of the tables whose key is not ``id``."""

BOOKKEEPING = {"_yoyo_migration", "_yoyo_log", "_yoyo_version", "sqlite_sequence"}
"""Tables of the migration tool and of SQLite itself."""
