"""What an operator runs on the hub's own machine; each module is executed as a program."""
