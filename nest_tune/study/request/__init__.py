"""What a study is asked for: flags, file, settings."""
