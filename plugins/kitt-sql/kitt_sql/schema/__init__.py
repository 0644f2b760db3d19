"""The schema: its tables, the migrations that create them, and the state of a database's schema."""
