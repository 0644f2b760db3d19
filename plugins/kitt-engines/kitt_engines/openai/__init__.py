"""The engine ``openai``: any server with OpenAI's HTTP interface."""
