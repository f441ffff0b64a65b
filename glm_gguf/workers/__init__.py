"""Workers: other machines that lend their memory and processors to a model; how both sides talk."""
