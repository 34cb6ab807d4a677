"""What every implementation of a contract has to do, as tests that its author runs over it."""
