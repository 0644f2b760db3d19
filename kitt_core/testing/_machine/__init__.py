"""The strategies that the state machine draws from, and the model that it compares a store with."""
