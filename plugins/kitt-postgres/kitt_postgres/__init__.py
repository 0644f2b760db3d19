"""KITT's backend for teams, runs in PostgreSQL: `kitt_postgres.store` is the store."""
