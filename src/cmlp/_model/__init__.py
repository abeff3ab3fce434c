"""The data of a network: architecture, parameters, running statistics, optimizer state."""
