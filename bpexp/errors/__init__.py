"""One sentence for each error, with what to type; from the command line and from Python."""
