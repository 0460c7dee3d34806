"""The quality gates of `gristmill check`: one file a subject, each measuring a finished run by itself."""
