"""How stages are wired, run and recorded: command line, configuration, plan, manifest, one file a stage."""
