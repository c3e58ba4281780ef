"""The contract: numbers, configuration, commands and registers. Imports nothing else of Alloy."""
