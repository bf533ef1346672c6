"""Cloud Logging: entries, sinks, and the language of their filters."""
